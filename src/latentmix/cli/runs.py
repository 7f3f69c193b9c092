"""Commands that train and score runs: demo, train, inspect, evaluate and report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from latentmix.cli.app import (
    Allow,
    Checkpoint,
    DataPath,
    Device,
    Place,
    Seed,
    app,
    device_of,
    fail,
    mistake,
    note,
    print_scores,
)
from latentmix.cli.imports import uncollected


@app.command
def demo(*, out: Place = Path("runs/demo"), seed: Seed = 0) -> None:
    """Train AE, AE+GAN and AMR on real handwritten digits and write a report; takes about three minutes.

    Parameters
    ----------
    out
        Folder for the three runs.
    seed
        Seed of the initialisation, the order of the data, and the mixing.
    """
    from latentmix.experiments import demo as experiment

    experiment.run(out, seed)


@app.command
def train(*arguments: str, allow: Annotated[tuple[str, ...], Parameter(negative=())] = ()) -> None:
    """Train a method on data: latentmix train [CONFIG.yaml ...] [key=value ...]

    Keys are method, data, protocol, image_size, classes, train_size, subset, labelled, attributes, hold_out,
    epochs or steps, batch_size, keep_last, lr, probe_lr, schedule, drops, betas, weight_decay, every, crop,
    padding, flip, validate_every, start_from, seed, precision, device and out. Options of parts are written
    with dots: method=amr method.mixer=bernoulli method.mixer.k=3 data=../mnist. `latentmix parts` lists all
    parts; name your own parts as my_package.my_module:MyMethod or ./my_file.py:MyMethod. To continue a run
    that was stopped, repeat the command.
    On several devices: torchrun --nproc-per-node N -m latentmix train ...

    Parameters
    ----------
    arguments
        YAML files and key=value settings; later ones override earlier ones.
    allow
        A Python file with parts that a YAML file names, such as ./my_file.py; it will be executed.
    """
    with uncollected():
        from latentmix import config, training
        from latentmix.config import catalogue
        from latentmix.training import progress
        from latentmix.training.ranks import Ranks

        catalogue.trust([*arguments, *allow])
        run = config.load(arguments)
    try:
        with progress.progress() as shown:
            folder = training.train(run, shown)
    except training.Interrupted:
        again = shlex.join(["latentmix", "train", *arguments, *(f"--allow={file}" for file in allow)])
        print(f"stopped; {run.out} is saved. To continue:\n  {again}", file=sys.stderr)
        sys.exit(130)
    if not Ranks().first:  # another rank writes the report
        return

    from latentmix.reports.exhibit import exhibit
    from latentmix.runs import read_scores

    page = "not drawn"
    try:
        page = str(exhibit(folder, device=device_of(run.device)))
    except Exception as error:
        reason = mistake(error)
        if reason is None:
            raise
        note(f"the training is complete, but its report cannot be drawn: {reason}")
    print_scores(read_scores(folder), run.as_dict())
    print(f"run     {folder}\nreport  {page}\nnext    latentmix evaluate {shlex.quote(str(folder))}")


@app.command
def inspect(data: str, *settings: str) -> None:
    """Describe a data set: the number of images per split and class, and what is left out.

    Parameters
    ----------
    data
        A path or the name of a data set, as in data=.
    settings
        Options of the data set, and image_size; for example data.skip_bad=true image_size=64.
    """
    from latentmix import config
    from latentmix.data.summary import inspect as summarise

    run = config.load([f"data={data}", *settings])
    print(summarise(config.build("data", run.data), image_size=run.image_size))


@app.command
def evaluate(
    run: Place,
    *metrics: str,
    seed: Seed = 0,
    checkpoint: Checkpoint = None,
    data: str | None = None,
    device: Device = "auto",
    allow: Allow = (),
) -> None:
    """Score a trained run; each metric is computed once and kept in scores.json with its protocol.

    A metric that does not apply to the run says why and does not stop the others: the command fails only if
    no metric can be computed.

    Parameters
    ----------
    run
        The run's folder.
    metrics
        Names and options as listed by `latentmix parts metric`, such as probe knn.k=20
        disentanglement.fast=true. By default what fits the method: probe, classification or samples.
    seed
        Seed for metrics that sample.
    data
        Where the data are now, if they have been moved. Scores of other images are kept under other names.
    """
    from latentmix import reports
    from latentmix.config import catalogue
    from latentmix.runs import read_config
    from latentmix.scoring import evaluate as score
    from latentmix.training import progress

    catalogue.trust([*metrics, *allow])
    with progress.waiting() as say:
        scores, failures = score(
            run,
            metrics,
            seed=seed,
            checkpoint=checkpoint,
            path=data,
            device=device_of(device),
            say=say,
        )
    try:
        reports.write(run)
    except OSError as error:
        note(f"report.html is not renewed: {error}")
    print_scores(scores, read_config(run))
    reasons = {name: mistake(error) for name, error in failures.items()}
    for name, reason in reasons.items():
        note(f"{name}: {reason or 'failed because of a bug in the metric'}")
    for name, failure in failures.items():
        if reasons[name] is None:
            raise failure
    if not scores:
        sys.exit(2)


@app.command
def report(
    *folders: Place,
    out: Place = Path("report"),
    seed: Seed = 0,
    data: DataPath = None,
    device: Device = "auto",
    allow: Allow = (),
) -> None:
    """Compare trained runs on one page: the same pairs mixed by all, scores over seeds, what differs.

    Runs that differ by their seed alone count as one system, whose scores have a mean and a deviation. OUT
    gets report.html, scores.csv, scores.tex and the pictures. The report of a single run is written into its
    own folder.

    Parameters
    ----------
    folders
        Folders of runs on the same data.
    out
        Folder for the page.
    seed
        Seed that chooses the test images that are mixed.
    """
    from latentmix.config import catalogue
    from latentmix.reports import exhibit, together

    catalogue.trust(allow)
    runs = list(dict.fromkeys(folder.resolve() for folder in folders))
    if not runs:
        fail("name the folders of one run or more: latentmix report RUN RUN ...")
    if len(runs) == 1:
        print(exhibit.exhibit(runs[0], device=device_of(device), seed=seed, path=data))
    else:
        print(together.exhibit(runs, out, device=device_of(device), seed=seed, path=data))
