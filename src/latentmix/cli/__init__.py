"""The command line: it dispatches commands and prints help, results and errors.

Nothing slow is imported before a command needs it, so that help appears at once.
"""

from __future__ import annotations

import os
import sys

from cyclopts import CycloptsError

from latentmix.cli import people as people
from latentmix.cli import runs as runs
from latentmix.cli.app import app, fail

EXTRAS = {
    "tensorboard": "train",
    "datasets": "train",
    "pyarrow": "train",
    "sklearn": "train",
    "matplotlib": "train",
    "scipy": "train",
    "huggingface_hub": "train",
    "torchmetrics": "dev",
    "jinja2": "page",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
}


def main() -> None:
    """Run a command and exit with its status.

    The status is 0 when the command is done, 2 for a mistake that the user can correct, 130 when interrupted,
    and 1 if numbers are not finite or the output is no longer read.
    """
    try:
        app(exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        sys.exit(2)
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    except BrokenPipeError:  # the reader has closed the pipe, as in `latentmix parts | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        fail(f"this command needs {error.name}; install it with: pip install 'latentmix[{extra}]'")
    except ArithmeticError as error:
        fail(str(error), code=1)
    except (ValueError, OSError) as error:
        fail(str(error))
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        fail(
            "the GPU's memory is full; a smaller batch_size=N (another run, with another out=FOLDER) or a "
            "smaller network needs less"
        )
