"""Scores of anybody's codes: every metric that needs only codes and their labels or factors."""

from __future__ import annotations

import math
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from latentmix import config
from latentmix.config import catalogue
from latentmix.data import Data, Split
from latentmix.data.decoding.labels import as_column
from latentmix.data.given import as_numpy
from latentmix.data.split import UNLABELLED
from latentmix.metrics import evaluating, key_of, missing_role
from latentmix.metrics.rank import lidar
from latentmix.reports.scores import Scores

ARRAYS = ("codes", "labels", "factors", "pairs")
LEAST = 20  # codes
FAR, NEAR = 1e15, 1e-15  # values beyond have squares that 32-bit numbers cannot hold
ROUGH = 1e-3  # of a column's range: how far float32, in which metrics see codes, may round a number
WHOLE = ("rank", "disentanglement")  # need no training and test codes, and see all of them


class Identity(nn.Module):
    """A method whose images are codes."""

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def score(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    factors: ArrayLike | None = None,
    *,
    pairs: ArrayLike | None = None,
    metrics: Iterable[str] = (),
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] | None = None,
) -> Scores:
    """Score codes of any origin.

    Metrics that train a classifier get 60 % of the codes to train on, 20 % for validation and 20 % for test,
    drawn by the seed, evenly over the classes. Effective rank and disentanglement see all codes.

    Arguments:
        codes: Shape (N, D) or (N, ...), at least 20.
        labels: Classes, whole numbers or text, shape (N,) or (N, 1), or one-hot (N, C).
        factors: What generated the images, whole numbers, shape (N, F).
        pairs: Codes with the same number are views of one image, shape (N,); for LiDAR.
        metrics: Names and options, as NAME.option=value; by default all that apply.
        seed: Seed of the splits, and of metrics that sample.
        say: Called with the name of each metric before it is computed.
        warn: Called with the reason why a metric cannot be computed, which stops no other; by default a
            warning of Python's names all of them.

    Raises:
        ValueError: Codes that are not finite or not a table, other lengths, one class, an unknown metric, or
            none of the metrics can be computed.
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics or ())
    h = _table(codes)
    columns = {"labels": _labels(labels, len(h)), "factors": _factors(factors, len(h))}
    views = _pairs(pairs, len(h))
    asked = config.metrics(
        metrics or _applicable(columns["labels"] is not None, columns["factors"] is not None)
    )
    whole, cut = _data(h, columns["labels"], columns["factors"], seed)
    found, failures = Scores(), dict[str, str]()
    with evaluating(method := Identity()):
        for name, options in asked.items():
            metric = catalogue.get("metric", name)
            assert metric is not None, "config.metrics knows it"
            if missing_role(metric.make, method) is not None:
                fit = _applicable(columns["labels"] is not None, columns["factors"] is not None)
                failures[name] = f"it needs more than codes; what these suffice for: {', '.join(fit)}"
                continue
            key = key_of(name, options, {k: default for k, (_, default) in metric.options.items()})
            say(f"{key}: {metric.summary}")
            start = time.monotonic()
            try:
                values, protocol = metric.make(method, whole if name in WHOLE else cut, **options)
            except ValueError as error:
                failures[key] = str(error)
                continue
            values = {k: v if math.isfinite(v) else None for k, v in values.items()}
            seconds = round(time.monotonic() - start, 2)
            found[key] = {"values": values, "protocol": protocol | {"codes": len(h)}, "seconds": seconds}
    if views is not None:
        try:
            found["lidar"] = _lidar(h, views)
        except ValueError as error:
            failures["lidar"] = str(error)
    reasons = [f"{name}: {reason}" for name, reason in failures.items()]
    if reasons and not found:
        raise ValueError("\n".join(reasons))
    if reasons and warn is None:
        warnings.warn("\n".join(reasons), stacklevel=2)
    elif warn is not None:
        for reason in reasons:
            warn(reason)
    return found


def read(file: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file: `codes`, and perhaps `labels`, `factors` and `pairs`. Nothing is unpickled.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not an .npz file, no array `codes`, or an array of another name.
    """
    path = Path(file)
    if path.is_dir():
        raise ValueError(f"{file} is a folder; name an .npz file")
    if not path.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{file} is no .npz file, or was cut off; numpy.savez(FILE, codes=codes, labels=labels) "
            "writes one"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive)
            if unknown := [name for name in names if name not in ARRAYS]:
                raise ValueError(
                    f"it holds {', '.join(unknown)}; the arrays that count are {', '.join(ARRAYS)}"
                )
            if "codes" not in names:
                raise ValueError(f"it has no array codes, only {', '.join(names) or 'nothing at all'}")
            return {name: _array(archive, name) for name in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ValueError(f"{file} cannot be used: {error}") from error


def _array(archive: Any, name: str) -> NDArray[Any]:
    try:
        return archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            f"{name} is an array of Python objects, which may hold code; save {name}.astype(str) for text, "
            "or an array of numbers"
        ) from None


def _applicable(labels: bool, factors: bool) -> list[str]:
    """The metrics of this package that codes suffice for."""
    of_labels = ["probe", "knn", "few_labels", "deep_probe", "clusters", "spread"]
    return ["rank", *(of_labels if labels else []), *(["disentanglement"] if factors else [])]


def _table(codes: ArrayLike) -> Tensor:
    array = as_numpy(codes)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"codes are of type {array.dtype}; they must be numbers")
    if array.ndim < 2 or not array.size:
        raise ValueError(f"codes of shape {array.shape}: they must be (N, D), a row for each image")
    if len(array) < LEAST:
        raise ValueError(f"{len(array)} codes are too few; give {LEAST} or more")
    flat = torch.from_numpy(array.reshape(len(array), -1).astype(np.float64))
    bad = int((~flat.isfinite().all(1)).sum())
    if bad:
        raise ValueError(f"{bad} of {len(flat)} codes hold NaN or infinite values")
    rounded, spread = (flat.float().double() - flat).abs().amax(0), flat.amax(0) - flat.amin(0)
    most, least = float(flat.abs().max()), float(spread.max())
    if most > FAR or 0 < least < NEAR:
        what = f"as large as {most:.0e}" if most > FAR else f"within {least:.0e} of each other"
        raise ValueError(
            f"codes {what} have squares that 32-bit numbers cannot hold; divide all codes by their deviation"
        )
    lost = rounded.isinf() | ((spread > 0) & (rounded > ROUGH * spread))
    if rough := int(lost.sum()):
        raise ValueError(
            f"{rough} of {flat.shape[1]} columns of the codes have values that 32-bit numbers cannot tell "
            "apart; subtract the mean of each column, and divide by its deviation"
        )
    return flat


def _labels(labels: ArrayLike | None, count: int) -> Tensor | None:
    if labels is None:
        return None
    array = as_column(as_numpy(labels))
    if array.shape != (count,):
        raise ValueError(f"labels of shape {array.shape} do not fit {count} codes; they must be ({count},)")
    names, index, sizes = np.unique(array, return_inverse=True, return_counts=True)
    if array.dtype.kind == "i" and names[0] == UNLABELLED and len(names) > 2:
        raise ValueError(
            f"{sizes[0]} labels are -1, which means that an image has no label; leave these codes out, "
            "or give the class another number"
        )
    if len(names) < 2:
        raise ValueError("labels hold one class; metrics of labels need two or more")
    if sizes.min() < 5:
        rare = names[sizes.argmin()]
        raise ValueError(
            f"class {rare} has {sizes.min()} codes; every class needs 5, to train, validate and test"
        )
    return torch.from_numpy(index.astype(np.int64))


def _factors(factors: ArrayLike | None, count: int) -> Tensor | None:
    if factors is None:
        return None
    array = as_numpy(factors)
    if array.ndim != 2 or len(array) != count:
        raise ValueError(
            f"factors of shape {array.shape} do not fit {count} codes; they must be ({count}, F)"
        )
    if array.dtype.kind not in "biuf" or not (np.isfinite(array) & (array == np.floor(array))).all():
        raise ValueError("factors must be whole numbers, one for each value of a factor")
    return torch.from_numpy(array.astype(np.int64))


def _data(h: Tensor, labels: Tensor | None, factors: Tensor | None, seed: int) -> tuple[Data, Data]:
    """All codes, and codes cut into 60, 20 and 20 % of every class."""
    rows = Split(h.float()[:, :, None, None], labels, factors=factors)
    order = torch.randperm(len(h), generator=torch.Generator().manual_seed(seed))
    fifth = torch.zeros(len(h), dtype=torch.long)
    groups = [order] if labels is None else [order[labels[order] == c] for c in labels.unique()]
    for group in groups:
        fifth[group] = torch.arange(len(group)) % 5
    train, valid, test = (rows.take(index) for index in (fifth < 3, fifth == 3, fifth == 4))
    names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
    kinds = () if factors is None else tuple(map(str, range(factors.shape[1])))
    whole = Data("codes", rows, rows, rows, names, (), "", kinds)
    return whole, Data("codes", train, valid, test, names, (), "", kinds)


def _pairs(pairs: ArrayLike | None, count: int) -> Tensor | None:
    if pairs is None:
        return None
    array = as_numpy(pairs)
    if array.shape != (count,) or array.dtype.kind not in "biu":
        raise ValueError(
            f"pairs of shape {array.shape} and type {array.dtype}: they must be whole numbers, ({count},)"
        )
    return torch.from_numpy(array.astype(np.int64))


def _lidar(h: Tensor, pairs: Tensor) -> dict[str, Any]:
    start, groups = time.monotonic(), len(pairs.unique())
    value = lidar(h, pairs)
    limit = min(groups - 1, h.shape[1])
    protocol = {"codes": len(h), "groups": groups, "units": h.shape[1], "delta": 1e-4, "limit": limit}
    seconds = round(time.monotonic() - start, 2)
    return {
        "values": {"lidar": value, "lidar_share": value / limit},
        "protocol": protocol,
        "seconds": seconds,
    }
