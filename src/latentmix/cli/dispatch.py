"""Running one command: its errors become one line and an exit code, and faults keep their traceback.

Nothing slow is imported before a command needs it, so that help appears at once.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from typing import NoReturn

from cyclopts import CycloptsError, MissingArgumentError, UnusedCliTokensError

import latentmix
from latentmix import memory
from latentmix.cli import people as people
from latentmix.cli import runs as runs
from latentmix.cli import streams
from latentmix.cli import tables as tables
from latentmix.cli.app import app, fail, mistake

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
    "ray": "ray",
    "submitit": "slurm",
    "diffusers": "import",
}


def dispatch() -> None:
    """Run a command and exit with its status (`app.EXIT_CODES`).

    Raises:
        KeyboardInterrupt: The command was interrupted.
    """
    streams.prepare()
    memory.stay_below_what_is_free()
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        fail(_in_words(error))
    except BrokenPipeError:  # the reader has closed the pipe, as in `latentmix parts | head`
        streams.silence(sys.stdout)
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            _report_fault(error)
        fail(f"this command needs {error.name}; install it with: pip install 'latentmix[{extra}]'")
    except ArithmeticError as error:
        if type(error) in (ZeroDivisionError, OverflowError, FloatingPointError):
            _report_fault(error)
        fail(str(error), code=1)
    except Exception as error:
        message = mistake(error)
        if message is None:
            _report_fault(error)
        fail(message)


def _in_words(error: CycloptsError) -> str:
    """Say in one line what is wrong with the words of a command."""
    command = " ".join(error.command_chain or ())
    see_help = f"see latentmix {command} --help"
    if isinstance(error, UnusedCliTokensError):
        return f"{command}: too many words: {shlex.join(error.unused_tokens or ())}; {see_help}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        given = error.keyword or next((t.keyword for t in error.argument.tokens if t.keyword), None)
        if given is None and error.argument.field_info.is_positional:
            return f"{command}: {error.argument.name.lstrip('-').upper()} is missing; {see_help}"
        return f"{command}: {given or error.argument.name} needs a value"
    return " ".join(str(error).split())


def _report_fault(error: BaseException) -> NoReturn:
    """Print the traceback of an error that is no mistake of the user, and how to report it."""
    traceback.print_exception(error)
    fail(
        f"this is a bug in latentmix {latentmix.__version__} (Python {sys.version.split()[0]}, "
        f"{sys.platform}) or of a part of yours; please report it with the command and all lines above",
        code=1,
    )
