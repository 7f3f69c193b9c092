"""Scoring of trained runs; scores are computed once and kept in the run's folder with their protocol."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from latentmix import config, runs
from latentmix.config import catalogue
from latentmix.data import Data
from latentmix.data import load as load_data
from latentmix.metrics import collapsed, evaluating, key_of, missing_role
from latentmix.metrics import metric as as_metric
from latentmix.training.device import keep_freed_memory


def data_of(run: runs.OpenRun, device: str = "cpu") -> Data:
    """Load the data that a run was trained on, in the same splits, with all labels.

    Raises:
        FileNotFoundError: The data are gone.
        ValueError: The data have changed and do not fit the run.
    """
    settings = run.config
    data = load_data(
        config.build("data", settings["data"]),
        image_size=settings["image_size"],
        classes=settings["classes"],
        train_size=settings["train_size"],
        subset=settings["subset"],
        attributes=settings["attributes"],
        hold_out=settings["hold_out"],
        seed=settings["seed"],
        device=device,
    )
    if data.shape != run.shape:
        raise ValueError(f"{run.folder} was trained on images {run.shape}, its data now are {data.shape}")
    return data


def evaluate(
    folder: Path,
    metrics: Iterable[str],
    *,
    device: str = "cpu",
    seed: int = 0,
    checkpoint: str | None = None,
    say: Callable[[str], None] = print,
    data: Data | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Compute metrics of a run; scores that are kept for the same weights and options are not recomputed.

    Arguments:
        metrics: Names, and options as ``name.option=value``: "probe", "knn.k=20".
        seed: Seed for metrics that sample, unless they are given another seed.
        checkpoint: "best" or "last"; by default the best epoch, as the method defines it.
        say: Called with messages about what is being computed.
        data: Other data to measure on; scores are then neither read from the folder nor kept there.

    Returns:
        The scores {metric: {"values", "protocol", "seconds"}}, in which undefined values are None, and
        {metric: reason} for those that could not be computed. A metric that fails does not stop the others.

    Raises:
        ValueError: A metric or option is unknown, or the folder is not a run.
    """
    asked = config.metrics(metrics, seed=seed)
    run = runs.open_run(folder, device, checkpoint, say)
    say(f"{run.method.label}: weights of {run.which}")
    keep_freed_memory()
    scores, failures = {}, {}
    other = data
    if other is not None and other.shape != run.shape:
        raise ValueError(f"{folder} was trained on images {run.shape}, and these are {other.shape}")
    with evaluating(run.method, folder / "features"):  # encoded once for all metrics of this call
        for name, options in asked.items():
            metric = catalogue.get("metric", name)
            assert metric is not None, "config.metrics knows it"
            if (lacking := missing_role(metric.make, run.method)) is not None:
                failures[name] = lacking
                continue
            defaults = {key: default for key, (_, default) in metric.options.items()}
            key = key_of(name, options, defaults)
            # JSON turns tuples into lists, so options are compared as JSON returns them.
            identity = {"weights_sha256": run.weights_sha256, "options": json.loads(json.dumps(options))}
            kept = runs.read_scores(folder).get(key) if other is None else None
            if kept and {k: kept.get(k) for k in identity} == identity:
                scores[key] = kept
                _warn(key, kept, say)
                continue
            say(f"{key}: {metric.summary}")
            start = time.monotonic()
            try:
                data = data or data_of(run, device)
                values, protocol = as_metric(metric.make)(run.method, data, **options)
            except (ValueError, OSError) as error:
                failures[key] = str(error)
                continue
            except Exception as error:  # the other metrics must still be computed
                failures[key] = f"{type(error).__name__}: {error}"
                continue
            seconds = round(time.monotonic() - start, 2)
            values = {k: v if math.isfinite(v) else None for k, v in values.items()}  # JSON has no NaN
            source = {"checkpoint": run.checkpoint, "epoch": run.epoch, "data": data.fingerprint}
            scores[key] = {"values": values, "protocol": protocol | source, "seconds": seconds, **identity}
            if other is None:
                runs.add_score(folder, key, scores[key])
            _warn(key, scores[key], say)
    return scores, failures


def _warn(key: str, score: Mapping[str, Any], say: Callable[[str], None]) -> None:
    if (why := collapsed(score)) is not None:
        say(f"warning: {key}: the model is collapsed: {why}")
