"""The command line: routes commands, prints help, results and errors; the work is done elsewhere.

Nothing heavy is imported before a command needs it, so that help answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter

import latentmix

app = App(
    name="latentmix",
    help="Train autoencoders whose mixed codes decode to realistic samples, judge them, use the mixes.",
    version=latentmix.__version__,
    help_flags=["--help", "-h"],
)
EXTRAS = {
    "tensorboard": "train",
    "datasets": "train",
    "pyarrow": "train",
    "sklearn": "train",
    "matplotlib": "train",
    "scipy": "train",
    "huggingface_hub": "train",
    "torchmetrics": "dev",
}


def main() -> None:
    """Run a command; exit 0 when it is done, 2 for a mistake that the user can mend, 130 when interrupted."""
    try:
        app(exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        sys.exit(2)
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    except BrokenPipeError:  # `latentmix parts | head` has read enough
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


def fail(message: str, code: int = 2) -> NoReturn:
    """Print an error to standard error and exit."""
    print(f"latentmix: {message}", file=sys.stderr)
    sys.exit(code)


@app.command
def demo(*, out: Path = Path("runs/demo"), seed: int = 0) -> None:
    """Train AE, AE+GAN and AMR on real handwritten digits, compare them, write a report; about three minutes.

    Parameters
    ----------
    out
        Folder for the three runs.
    seed
        Of initialisation, order of the data and mixing.
    """
    from latentmix.experiments import demo as experiment

    experiment.run(out, seed)


@app.command
def train(*arguments: str) -> None:
    """Train a method on data: latentmix train [CONFIG.yaml ...] [key=value ...]

    Keys are method, data, image_size, train_size, labelled, attributes, hold_out, epochs or steps,
    batch_size, keep_last, lr, probe_lr, schedule, every, crop, flip, validate_every, start_from, seed,
    precision, device and out; options of parts follow with dots: method=amr method.mixer=bernoulli
    method.mixer.k=3 data=../mnist. `latentmix parts` lists what can be named; parts of your own are
    my_package.my_module:MyMethod or ./my_file.py:MyMethod. The same command again continues where it stopped.
    On several devices: torchrun --nproc-per-node N -m latentmix train ...

    Parameters
    ----------
    arguments
        YAML files and key=value settings; later ones override earlier ones.
    """
    from latentmix import config, training
    from latentmix.config import catalogue
    from latentmix.report.exhibit import exhibit
    from latentmix.training import progress
    from latentmix.training.ranks import Ranks

    catalogue.trust(arguments)
    run = config.load(arguments)
    try:
        with progress.progress() as shown:
            folder = training.train(run, shown)
    except training.Interrupted:
        again = shlex.join(["latentmix", "train", *arguments])
        print(f"stopped; {run.out} is saved. To continue:\n  {again}", file=sys.stderr)
        sys.exit(130)
    if not Ranks().first:  # another rank writes the report
        return
    page = exhibit(folder, device=_device(run.device))
    _print_scores(folder)
    print(f"run     {folder}\nreport  {page}\nnext    latentmix evaluate {shlex.quote(str(folder))}")


@app.command
def inspect(data: str, *settings: str) -> None:
    """Say what lies at a path: images of each split and class, and what is left out; nothing is trained.

    Parameters
    ----------
    data
        A path or the name of a data set, as in data=.
    settings
        Options of the data set, and image_size: data.skip_bad=true image_size=64.
    """
    from latentmix import config
    from latentmix.data.summary import inspect as summarise

    run = config.load([f"data={data}", *settings])
    print(summarise(config.build("data", run.data), image_size=run.image_size))


@app.command
def evaluate(
    run: Path,
    *metrics: str,
    seed: int = 0,
    checkpoint: Literal["best", "last"] | None = None,
    device: str = "auto",
    allow: tuple[str, ...] = (),
) -> None:
    """Score a trained run; each metric is computed once and kept in scores.json with its protocol.

    Parameters
    ----------
    run
        The run's folder.
    metrics
        Names and options, as `latentmix parts metric` lists them: probe knn.k=20
        disentanglement.fast=true. Defaults to probe.
    seed
        Seed for metrics that sample.
    checkpoint
        Which weights to score; by default the best epoch, as the method declares it.
    device
        auto, cpu, cuda, ...
    allow
        A file with parts that the run was trained with, such as ./my_file.py, which may be run.
    """
    from latentmix import report
    from latentmix.config import catalogue
    from latentmix.evaluate import evaluate as score
    from latentmix.training import progress

    catalogue.trust([*metrics, *allow])
    with progress.waiting() as say:
        scores, failures = score(
            run,
            metrics or ("probe",),
            seed=seed,
            checkpoint=checkpoint,
            device=_device(device),
            say=say,
        )
    for name in scores:
        _print_scores(run, name)
    report.write(run)
    if failures:
        fail("\n".join(f"{name}: {reason}" for name, reason in failures.items()))


@app.command
def mix(
    run: Path,
    *images: Path,
    steps: int = 9,
    out: Path = Path("mix.png"),
    layout: Literal["strip", "triangle", "grid", "gif"] | None = None,
    path: Literal["lerp", "slerp", "crossover"] = "lerp",
    checkpoint: Literal["best", "last"] | None = None,
    device: str = "auto",
    allow: tuple[str, ...] = (),
) -> None:
    """Mix your own images by a trained run, and write a receipt (OUT.json) of how each mix was made.

    Parameters
    ----------
    run
        The run's folder.
    images
        Two or more image files, of any size and mode.
    steps
        Images along each path, ends included.
    out
        Where the picture goes; its suffix chooses the format.
    layout
        By default a strip for two images, a triangle for three, a chain of strips for more.
    path
        Straight line, great circle, or crossover of feature maps.
    checkpoint
        Which weights to mix by; by default the best epoch, as the method declares it.
    device
        auto, cpu, cuda, ...
    allow
        A file with parts that the run was trained with, such as ./my_file.py, which may be run.
    """
    from latentmix import runs
    from latentmix.apps import mix_images
    from latentmix.config import catalogue

    catalogue.trust(allow)
    opened = runs.open_run(run, _device(device), checkpoint, lambda text: print(text, file=sys.stderr))
    mix_images.resynthesise(opened, images, steps=steps, out=out, layout=layout, path=path)
    print(f"{out}\n{out}.json")


@app.command
def parts(
    kind: Annotated[Literal["method", "mixer", "network", "data", "metric"] | None, Parameter()] = None,
) -> None:
    """List every method, mixer, network, data set and metric, one line each.

    Parameters
    ----------
    kind
        Only these.
    """
    import inspect

    from latentmix.config import catalogue

    for each in [kind] if kind else list(catalogue.FOLDERS):
        print(f"{each}s" if each != "data" else "data sets (or the path of a folder or .npz file)")
        for part in catalogue.find(each).values():
            print(f"  {part.name:16} {part.summary}")
            shown = [
                name if default is inspect.Parameter.empty else f"{name}={_short(default)}"
                for name, (_, default) in part.options.items()
            ]
            if shown:
                print(f"  {'':16} {', '.join(shown)}")


def _short(default: object) -> str:
    import dataclasses

    from latentmix.data.names import name_of

    return name_of(type(default)) if dataclasses.is_dataclass(default) else str(default)


def _device(name: str) -> str:
    from latentmix.training.device import find_device

    return str(find_device(name))


def _print_scores(folder: Path, *names: str) -> None:
    from latentmix import runs

    scores = runs.read_scores(folder)
    for name in names or scores:
        for key, value in scores.get(name, {}).get("values", {}).items():
            print(f"{name:14} {key:32} {'undefined' if value is None else f'{value:.4f}'}")
