"""Metrics: what a trained method is worth; one file for each question.

The folder is the list: a metric called NAME is the module ``latentmix/metrics/NAME.py`` with a function

    @metric
    def evaluate(method: ROLE, data, *, seed=0, <options with types and defaults>) -> Score

The first sentence of its docstring says in plain words what the values mean. ROLE is the protocol from
`latentmix.methods.roles` that the metric needs; other methods are refused by name. A metric that does not
apply to the data raises ValueError and names what it needs. A value that is undefined is NaN. What a metric
computes from arrays is a plain function of the same module; what several metrics share is in a package.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, cast, get_type_hints

import torch
from pydantic import Field
from torch import Tensor, nn

from latentmix.data import Split
from latentmix.methods.portions import device_of as device_of
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Decodes, Encodes, missing

Count = Annotated[int, Field(ge=1)]  # options of this type are checked where they are typed
Evaluate = TypeVar("Evaluate", bound=Callable[..., "Score"])
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


class Score(NamedTuple):
    """Numbers, and the protocol that made them.

    Arguments:
        values: Each number by its name.
        protocol: What decided the numbers: sample counts, choices made on validation, seeds; JSON values.
    """

    values: dict[str, float]
    protocol: dict[str, object]


def metric(evaluate: Evaluate) -> Evaluate:
    """Decorate `evaluate(method, data, **options)` with what holds for every metric.

    A method that lacks the role is refused; the method is in evaluation mode while it is measured, and in its
    former mode afterwards; the protocol names the versions of the numerical libraries. Decorating twice
    changes nothing.

    Raises:
        ValueError: See `missing_role`.
    """
    if getattr(evaluate, "_is_metric", False):
        return evaluate

    @functools.wraps(evaluate)
    def measured(method: Any, data: Any, **options: Any) -> Score:
        if (reason := missing_role(evaluate, method)) is not None:
            raise ValueError(reason)
        with evaluating(method):
            values, protocol = evaluate(method, data, **options)
        return Score(values, protocol | {"versions": versions()})

    measured._is_metric = True  # type: ignore[attr-defined]
    return cast(Evaluate, measured)


def collapsed(score: Mapping[str, Any]) -> str | None:
    """Return why the model of a score counts as collapsed (`walks.variety`); None if it does not.

    Arguments:
        score: The stored score, with its protocol.
    """
    because = score.get("protocol", {}).get("collapsed_because")
    return None if because is None else str(because)


def missing_role(evaluate: Callable[..., Any], method: object) -> str | None:
    """Say in one line what a method lacks for a metric; None if it lacks nothing.

    The role is the type hint of the metric's first parameter: a protocol, a union of protocols of which one
    suffices, or a class.
    """
    first = next(iter(inspect.signature(evaluate).parameters), "")
    try:
        role = get_type_hints(evaluate).get(first)
    except NameError:  # a hint that only a type checker can resolve
        return None
    return missing(method, role, evaluate.__module__.rpartition(".")[2])


def key_of(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the name under which a score is kept: the metric, and all options that differ from defaults.

    >>> key_of("knn", {"k": 20, "temperature": 0.1}, {"k": 200, "temperature": 0.1})
    'knn.k=20'

    Arguments:
        options: Resolved options; those without a default are always named.
        defaults: {option: default}.
    """

    def plain(value: Any) -> Any:  # JSON turns tuples into lists, which must not make another key
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    def spelt(value: Any) -> str:
        if isinstance(value, list | tuple):
            return f"[{','.join(map(spelt, value))}]"
        return str(value).lower() if isinstance(value, bool) or value is None else str(value)

    other = {k: v for k, v in options.items() if k not in defaults or plain(v) != plain(defaults[k])}
    words = ",".join(f"{option}={spelt(other[option])}" for option in sorted(other))
    return f"{name}.{words}" if words else name


@functools.cache
def _versions() -> dict[str, str]:
    return {library: importlib.metadata.version(library) for library in LIBRARIES}


def versions() -> dict[str, object]:
    """Return the versions of the libraries that compute scores, {name: version}."""
    return dict(_versions())


@dataclass
class _Kept:
    """Values that the metrics of one method share: the codes of each set of images, and a folder."""

    codes: dict[Tensor, Tensor] = field(default_factory=dict)  # tensors are looked up by identity
    folder: Path | None = None


@contextmanager
def evaluating(method: nn.Module, folder: Path | None = None) -> Iterator[None]:
    """Put a method into evaluation mode, and encode each split once, until the block ends.

    Every metric does so for itself; around several metrics of one method it makes them share their codes.
    Nothing may be trained inside. Blocks inside the block join it.

    Arguments:
        folder: Where feature networks travel with the method, such as the folder of its run; see
            `features.classifier`.
    """
    if "_kept" in vars(method):
        yield
        return
    modes = [(module, module.training) for module in method.modules()]
    method.eval()
    method._kept = _Kept(folder=folder)  # type: ignore[assignment]
    try:
        yield
    finally:
        del method._kept
        for module, training in modes:
            module.training = training


def folder_of(method: object) -> Path | None:
    """Return the folder of the surrounding `evaluating` block; None if it has none."""
    kept = vars(method).get("_kept")
    return kept.folder if kept is not None else None


@torch.no_grad()
def encode(method: Encodes, split: Split, index: Tensor | None = None) -> Tensor:
    """Encode images of a split in portions: flat codes, shape (N, d_h), float32, on the CPU.

    Arguments:
        index: Which images, shape (N,); all of them if None.

    Raises:
        ValueError: Codes that are not finite, or no images.
    """
    kept = vars(method).get("_kept")
    if index is None and kept is not None:
        if split.images not in kept.codes:
            kept.codes[split.images] = encode(method, split, torch.arange(len(split)))
        return kept.codes[split.images].clone()
    index = torch.arange(len(split)) if index is None else index.cpu()
    codes: Tensor | None = None
    for start in range(0, len(index), split.at_once):
        part = index[start : start + split.at_once]
        x = split.pixels(part.to(split.images.device))
        h = in_portions(method, "encode", x).flatten(1).float().cpu()
        codes = torch.empty(len(index), h.shape[1]) if codes is None else codes
        codes[start : start + len(part)] = h
    if codes is None:
        raise ValueError("there are no images to encode")
    require_finite(codes, "codes")
    return codes


@torch.no_grad()
def decode(method: Decodes, codes: Tensor) -> Tensor:
    """Decode flat codes (N, d_h) or codes (N, ...) in portions: images (N, C, H, W), float32, on the CPU.

    Raises:
        ValueError: Images that are not finite.
    """
    images = in_portions(method, "decode", codes.reshape(-1, *method.code_shape).cpu()).float()
    require_finite(images, "decoded images")
    return images


def require_finite(x: Tensor, what: str) -> None:
    """Check that x, shape (N, ...), is finite.

    Arguments:
        what: Name of the rows, for the message.

    Raises:
        ValueError: Some rows contain NaN or infinity.
    """
    bad = int((~x.flatten(1).isfinite().all(1)).sum()) if len(x) else 0
    if bad:
        raise ValueError(
            f"{bad} of {len(x)} {what} are NaN or infinite; train again or take a good checkpoint"
        )
