"""Commands that make many trainings: reproduce, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from latentmix.cli.app import Count, Place, app, fail

Words = Annotated[tuple[str, ...], Parameter(consume_multiple=1)]  # at least one
# The options of `Workers`, which both commands take.
Jobs = Annotated[
    Count | None,
    Parameter(
        help="Number of trainings at the same time, with one thread each; by default the number of cores."
    ),
]
Ray = Annotated[
    str,
    Parameter(
        help="Address of a Ray cluster that trains, HOST:PORT or ray://HOST:PORT; all nodes must share OUT."
    ),
]
Slurm = Annotated[
    str,
    Parameter(
        help="Partition of a Slurm cluster that trains, with one job per training; all nodes must share OUT."
    ),
]
Device = Annotated[str, Parameter(help="Device of every training: cpu, cuda, ...")]
Gpus = Annotated[
    float,
    Parameter(
        validator=validators.Number(gt=0),
        help="GPUs per training on a cluster, if the device is cuda; Ray also takes fractions, such as 0.25.",
    ),
]


@app.command
def reproduce(
    name: str | None = None,
    *,
    scale: Literal["smoke", "short", "paper"] = "short",
    plan: bool = False,
    only: tuple[str, ...] = (),
    seeds: Count | None = None,
    jobs: Jobs = None,
    out: Place = Path("runs/tables"),
    data: Place | None = None,
    results: Place = Path("results"),
    record: Annotated[bool, Parameter(negative=())] = False,
    ray: Ray = "",
    slurm: Slurm = "",
    device: Device = "cpu",
    gpus: Gpus = 1.0,
) -> None:
    """Reproduce a table or figure beside the published numbers; without NAME, list all with their cost.

    The same command again reuses finished trainings and continues those that were stopped. Several commands
    may share one folder, even on different machines.

    Parameters
    ----------
    name
        Name of the table or figure, such as amr-table1 or manifold-figure5.
    scale
        paper: as published. short: the same question with the budget that the list states. smoke: two steps
        per training, to check that everything runs.
    plan
        Print what would be trained and its state, without training anything.
    only
        Names of cells, or patterns such as "MNIST: *".
    seeds
        Number of trainings per cell, instead of the table's own number.
    out
        Folder for the trainings, each in a folder of its own; the tables are written to OUT/tables.
    data
        Folder with one folder per data set, named as in data=: mnist, cifar10, svhn, ...; by default
        $LATENTMIX_DATA. Data sets that are missing there are downloaded.
    results
        Folder of recorded trainings, which count as finished; name a folder that does not exist to train
        them here.
    record
        Record finished trainings (settings and scores, no weights) in RESULTS/NAME-SCALE.json, a small file
        to be committed. With --plan, only record what is finished.
    """
    from latentmix.experiments import reproduce as experiment
    from latentmix.tables.workers import Workers

    if name is None:
        print(experiment.listing(out, results))
        return
    asked = experiment.Request(name, scale, seeds, only, out, data, results, record)
    if plan:
        print(experiment.planned(asked))
        return
    done, paths = experiment.reproduce(asked, Workers(jobs, ray, slurm, device, gpus))
    for path in paths:
        print(path.read_text(encoding="utf-8") if path.suffix == ".md" else path)
    if not done:
        fail("not all trainings are finished; the table says why", code=1)


@app.command
def compare(
    *settings: str,
    methods: Words = (),
    seeds: Count = 5,
    lambdas: Words = (),
    jobs: Jobs = None,
    out: Place = Path("runs/compare"),
    ray: Ray = "",
    slurm: Slurm = "",
    device: Device = "cpu",
    gpus: Gpus = 1.0,
) -> None:
    """Compare methods on your data, with equal budgets and several seeds, and say what is noise.

    latentmix compare data=../my_images train_size=2000 --methods "autoencoder" "amr method.mixer=bernoulli"

    By default a plain autoencoder, AE+GAN, ACAI, and AMR with mixup and with masks, by the reconstruction,
    a linear probe on the codes and the realism of mixes. Collapsed models cannot lead. The same command again
    continues. It takes a few minutes on small images; image_size=32 takes about four times as long.

    Parameters
    ----------
    settings
        YAML files and key=value settings for all methods, as for `latentmix train`; data=... first of all. By
        default image_size=16 steps=200 batch_size=64.
    methods
        The methods, each in quotes: its name, then settings of its own, such as "amr method.mixer.k=3
        lr=5e-4"; "NAME: amr ..." gives it a name.
    seeds
        Number of trainings of each method.
    lambdas
        Values of lambda, such as 2 5 10 20 50: each method that has a lambda is trained with each, and takes
        the one with the best probe on validation images (without labels: the best reconstruction).
    out
        Folder for the trainings; the comparison is written to OUT/tables.
    """
    from latentmix.config import catalogue
    from latentmix.experiments import compare as experiment
    from latentmix.tables.workers import Workers

    catalogue.trust([word for text in (*settings, *methods) for word in text.split()])
    asked = experiment.Comparison(
        settings, methods or experiment.METHODS, seeds, experiment.lambdas(lambdas), out
    )
    asked.labelled  # noqa: B018 - reads the data, so that their faults are named before anything is trained
    workers, done = Workers(jobs, ray, slurm, device, gpus), True
    for tasks in (asked.search, asked.tasks):
        done &= workers.make(tasks(), out)
    paths = asked.write()
    for path in paths:
        print(path.read_text(encoding="utf-8") if path.suffix == ".md" else path)
    if not done:
        fail("not all trainings are finished; the table says why", code=1)
