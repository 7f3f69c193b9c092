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
from latentmix.runs import at_hand
from latentmix.training.device import keep_freed_memory

USUAL = ("probe", "classification", "samples")  # for methods that encode, that classify, that draw samples
NO_DATA = "none"  # the name of the data of an imported run that has none


def data_of(run: runs.OpenRun, device: str = "cpu", path: str | None = None) -> Data:
    """Load the data that a run was trained on, in the same splits, with all labels.

    Arguments:
        path: Where the data are now, if they have moved; other images of the same shape are accepted.

    Raises:
        FileNotFoundError: The data are gone.
        ValueError: The data have changed, or do not fit the run.
    """
    settings = run.config
    if path is None and settings["data"]["name"] == NO_DATA:
        raise ValueError(f"{run.folder} was imported without data; import it with --data FOLDER")
    try:
        if path is None:
            spec = config.stored_part("data", settings["data"])
        else:
            spec = config.moved(settings["data"], path)
        source = config.build("data", spec)
        data = load_data(
            source,
            image_size=settings["image_size"],
            classes=settings["classes"],
            train_size=settings["train_size"],
            subset=settings["subset"],
            attributes=settings["attributes"],
            hold_out=settings["hold_out"],
            seed=settings["seed"],
            device=device,
        )
    except (config.ConfigError, FileNotFoundError) as error:
        where = "" if path else "; if they have moved, --data PATH says where they are"
        raise FileNotFoundError(f"the data of {run.folder} cannot be opened: {error}{where}") from error
    if data.shape != run.shape:
        raise ValueError(f"{run.folder} was trained on images {run.shape}, its data are now {data.shape}")
    if path is None and not is_of(data, run):
        raise ValueError(
            f"the data {data.name} have changed since {run.folder} was trained on them (fingerprint "
            f"{data.fingerprint[:12]} instead of {run.description['data'][:12]}); --data PATH says where "
            f"they are now, or names other images to use"
        )
    return data


def is_of(data: Data, run: runs.OpenRun) -> bool:
    """Whether a run was trained on these data, by their content; True for runs that did not record it."""
    return run.description.get("data", data.fingerprint) == data.fingerprint


def evaluate(
    folder: Path,
    metrics: Iterable[str],
    *,
    device: str = "cpu",
    seed: int = 0,
    checkpoint: str | None = None,
    path: str | None = None,
    say: Callable[[str], None] = print,
    data: Data | None = None,
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Compute metrics of a run; scores that are kept for the same weights and options are not recomputed.

    Arguments:
        metrics: Names, and options as ``name.option=value``: "probe", "knn.k=20". If there are none,
            the first of `USUAL` that fits the method.
        seed: Seed for metrics that sample, unless they are given another seed.
        checkpoint: "best" or "last"; by default the best epoch, as the method defines it.
        path: Where the run's data are now, if they have moved. Scores of other images than those that the run
            was trained on are kept under names of their own: "probe on NAME".
        say: Called with messages about what is being computed.
        data: Other data to measure on; scores are then neither read from the folder nor kept there.

    Returns:
        The scores {metric: {"values", "protocol", "seconds"}}, in which undefined values are None, and
        {metric: exception} for those that could not be computed: a ValueError or OSError if the metric does
        not apply, any other exception for a fault of the metric. It does not stop the other metrics. Scores
        are also returned if the folder cannot be written.

    Raises:
        ValueError: A metric or option is unknown, or the folder is not a run.
    """
    named = tuple(metrics)
    asked = config.metrics(named or USUAL, seed=seed)
    run = runs.open_run(folder, device, checkpoint, say)
    if at_hand.ours(run.folder):
        name = run.folder.name
        raise ValueError(
            f"{name} comes with latentmix, and no scores can be kept there; evaluate a copy, which "
            f"`latentmix export {name} --to hub --out my-{name}` writes"
        )
    say(f"{run.method.label}: weights of {run.which}")
    keep_freed_memory(run.shape)
    if not named:
        first = next((name for name in USUAL if _lacks(run, name) is None), USUAL[0])
        asked = {first: asked[first]}
    scores: dict[str, Any] = {}
    failures: dict[str, Exception] = {}
    keeps, suffix = data is None, ""
    if data is not None and data.shape != run.shape:
        raise ValueError(f"{folder} was trained on images {run.shape}, and these are {data.shape}")
    if path is not None:
        data = data_of(run, device, path)
        if not is_of(data, run):
            suffix = f" on {data.name}"
            say(f"{path}: other images than {folder} was trained on; their scores are named METRIC{suffix}")
    with evaluating(run.method, folder / "features"):  # encoded once for all metrics of this call
        for name, options in asked.items():
            metric = catalogue.get("metric", name)
            assert metric is not None, "config.metrics knows it"
            if (lacking := _lacks(run, name)) is not None:
                fit = [other for other in catalogue.find("metric") if _lacks(run, other) is None]
                failures[name] = ValueError(f"{lacking}; metrics that fit it: {', '.join(fit) or 'none'}")
                continue
            defaults = {key: default for key, (_, default) in metric.options.items()}
            key = key_of(name, options, defaults) + suffix
            # JSON turns tuples into lists, so options are compared as JSON returns them.
            identity = {"weights_sha256": run.weights_sha256, "options": json.loads(json.dumps(options))}
            kept = runs.read_scores(folder).get(key) if keeps else None
            same_data = data is None or (kept or {}).get("protocol", {}).get("data") == data.fingerprint
            if kept and same_data and {k: kept.get(k) for k in identity} == identity and lasting(options):
                scores[key] = kept
                _warn(key, kept, say)
                continue
            say(f"{key}: {metric.summary}")
            start = time.monotonic()
            try:
                data = data or data_of(run, device)
                values, protocol = as_metric(metric.make)(run.method, data, **options)
            except Exception as error:  # the other metrics must still be computed
                failures[key] = error
                continue
            seconds = round(time.monotonic() - start, 2)
            values = {k: v if math.isfinite(v) else None for k, v in values.items()}  # JSON has no NaN
            source = {"checkpoint": run.checkpoint, "epoch": run.epoch, "data": data.fingerprint}
            scores[key] = {"values": values, "protocol": protocol | source, "seconds": seconds, **identity}
            if keeps:
                try:
                    runs.add_score(folder, key, scores[key])
                except OSError as error:
                    say(f"{key} cannot be kept: {error}")
            _warn(key, scores[key], say)
    return scores, failures


def _lacks(run: runs.OpenRun, name: str) -> str | None:
    """What a run's method lacks for a metric, in one line; None if it lacks nothing."""
    metric = catalogue.get("metric", name)
    assert metric is not None, "config.metrics knows it"
    return missing_role(metric.make, run.method)


def lasting(options: Mapping[str, Any]) -> bool:
    """Whether options say all that decides a score: the place of a user's network does not."""
    return options.get("features", "classifier") in ("classifier", "inception")


def _warn(key: str, score: Mapping[str, Any], say: Callable[[str], None]) -> None:
    if (why := collapsed(score)) is not None:
        say(f"warning: {key}: the model is collapsed: {why}")
