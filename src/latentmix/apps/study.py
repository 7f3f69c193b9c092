"""A study in Python: train, load, evaluate and report, as the commands of these names do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch

from latentmix import config, runs, scoring, training
from latentmix.apps.trained import Trained
from latentmix.config import catalogue
from latentmix.data import Data
from latentmix.data.names import printable
from latentmix.data.sources.kept import Kept, keep
from latentmix.reports.exhibit import exhibit
from latentmix.reports.scores import Scores
from latentmix.runs import OpenRun, RunError, at_hand
from latentmix.runs.folder import GIVEN, LOCK
from latentmix.training import progress
from latentmix.training.device import find_device

MADE = "lm.Data.from_arrays(images, labels) makes data of arrays"
Where = str | Path | OpenRun  # a run, by its folder or opened


def load(
    folder: Where,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Literal["best", "last"] | None = None,
    data: str | Path | None = None,
) -> Trained:
    """Open a trained run.

    Arguments:
        folder: The run's folder.
        checkpoint: Which weights; by default those of the best epoch, as the method defines it.
        data: Where its data are now, if they have moved; they are read when they are asked for.

    Raises:
        RunError: The folder is not a run, or has no complete checkpoint.
        TypeError: `folder` is neither a string nor a path nor an opened run.
    """
    opened = runs.open_run(_folder(folder), str(find_device(device)), checkpoint, _tell)
    return Trained.of(opened, None if data is None else str(data))


def train(
    *settings: str | Path, method: Any = None, data: Any = None, quiet: bool = False, **values: Any
) -> Trained:
    """Train a method on data, or continue a training that was stopped, and open the run.

        lm.train(method="amr", data="digits", epochs=5, out="runs/a")
        lm.train(method={"name": "amr", "mixer": {"name": "bernoulli", "k": 3}}, data="../mnist")
        lm.train("settings.yaml", "method.mixer.k=3", data=lm.Data.from_arrays(x, y))

    Arguments:
        settings: YAML files and ``key=value`` words, as `latentmix train` takes them.
        method: A name, {"name": ..., option: value}, or a class; amr by default.
        data: A name, a path, {"name": ..., option: value}, or a `Data`, whose images are kept in the run's
            folder so that it can be continued and scored; digits by default.
        quiet: Whether to print no news.
        values: Other settings, see `config.Run`; a dictionary may also hold dotted keys, as in
            ``**{"method.mixer.k": 3}``.

    Raises:
        ConfigError: Settings are wrong; the message names every mistake.
        RunError: The folder holds another run, or one on other data.
        NonFinite: A loss became infinite or not a number.
        TypeError: The method or the data are of another kind.
    """
    if not isinstance(data, Data | str | Path | dict | None):
        raise TypeError(f"data is of type {type(data).__name__}; {MADE}")
    if not isinstance(method, type | str | dict | None):
        raise TypeError(f"method is of type {type(method).__name__}; give a name, a dictionary or a class")
    given = data if isinstance(data, Data) else None
    named: dict[str, Any] = {}
    if isinstance(method, type):
        named["method"] = catalogue.spelled(method, "method")
    elif method is not None:
        named["method"] = method
    if given is not None:
        named |= {"data": "digits", "image_size": given.shape[1]}  # replaced below, when `out` is known
        values.setdefault("out", f"runs/{printable(given.name)}-{_name(named.get('method', 'amr'))}")
    elif data is not None:
        named["data"] = str(data) if isinstance(data, Path) else data
    words = [str(word) for word in settings]
    catalogue.trust([*words, str(named.get("method", ""))])
    named |= {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
    if given is not None:
        out = Path(config.load(words, named).out)
        named["data"] = {"name": "kept", "path": str(_keep(given, out))}
    run = config.load(words, named)
    with nullcontext() if quiet else progress.progress() as shown:
        return load(training.train(run, shown), device=run.device)


def evaluate(
    run: Where,
    *metrics: str | Iterable[str],
    data: Data | None = None,
    seed: int = 0,
    checkpoint: Literal["best", "last"] | None = None,
    device: str | torch.device = "cpu",
) -> Scores:
    """Score a trained run: ``lm.evaluate("runs/a", "probe", "knn.k=5")``.

    Arguments:
        metrics: Names, and options as NAME.option=value; by default what fits the method, such as "probe".
        data: Other data to measure on; such scores are returned and not kept with the run.
        seed: Seed for metrics that sample.
        checkpoint: Which weights; by default those that an opened run has, or else the best.

    Raises:
        ValueError: A metric or option is unknown, or none of the metrics could be computed. If only some
            could not, a warning says why.
    """
    if not isinstance(data, Data | None):
        raise TypeError(f"data is of type {type(data).__name__}; {MADE}")
    asked = [word for each in metrics for word in ([each] if isinstance(each, str) else _several(each))]
    catalogue.trust(asked)
    if checkpoint is None and isinstance(run, OpenRun) and run.checkpoint in ("best", "last"):
        checkpoint = run.checkpoint  # type: ignore[assignment]
    scores, failures = scoring.evaluate(
        _folder(run),
        asked,
        device=str(find_device(device)),
        seed=seed,
        checkpoint=checkpoint,
        say=lambda text: None,
        data=data,
    )
    reasons = "\n".join(f"{name}: {reason}" for name, reason in failures.items())
    if failures and not scores:
        raise ValueError(reasons)
    if failures:
        warnings.warn(reasons, stacklevel=2)
    return Scores(scores)


def _several(metrics: Any) -> list[str]:
    if not isinstance(metrics, Iterable):
        raise TypeError(f"a metric is of type {type(metrics).__name__}; give its name, such as 'probe'")
    return list(metrics)


def report(run: Where, *others: Where, device: str | torch.device = "cpu", seed: int = 0) -> Path:
    """Draw a run's figures and write its report; returns the path of report.html.

    Arguments:
        others: Runs on the same data to compare with.
        seed: Seed that chooses the test images.
    """
    baselines = [_folder(other) for other in others]
    return exhibit(_folder(run), baselines, device=str(find_device(device)), seed=seed)


def _folder(run: Where) -> Path:
    return run.folder if isinstance(run, OpenRun) else at_hand.path(run)


def _name(method: Any) -> str:
    name = method["name"] if isinstance(method, dict) else method
    return str(name).rpartition(":")[2]


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _keep(data: Data, out: Path) -> Path:
    """Write data into the folder of a run, unless they are there; others there are refused."""
    file = out / GIVEN / (printable(data.name).replace("/", "-") or "arrays")
    file = file.resolve()
    if (out / "config.yaml").is_file():
        if not file.is_file() or not _same(Kept(str(file)), data):
            raise RunError(f"{out} holds a run on other data; choose another out=FOLDER")
        return file
    if out.exists() and any(entry.name not in (GIVEN, LOCK) for entry in out.iterdir()):
        raise RunError(f"{out} exists and is not a run; choose another out=FOLDER")
    keep(data, file)
    return file


def _same(kept: Kept, data: Data) -> bool:
    import numpy as np

    columns = kept.read(data.shape[1]).splits["train"]
    pairs = ((columns.images, data.train.images), (columns.labels, data.train.labels))
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and np.array_equal(a, np.asarray(b.cpu())))
        for a, b in pairs
    )
