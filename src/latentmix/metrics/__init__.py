"""Metrics: what the codes and mixes of a trained method are worth; one file a question.

The folder is the list: a metric called NAME is the module ``latentmix/metrics/NAME.py`` with a function

    evaluate(method, data, *, seed=0, <options with types and defaults>) -> Score

whose docstring's first sentence says in plain words what the values mean. The method is in eval mode, and its
`encode` is deterministic. A metric that does not apply raises ValueError and names what it needs. What a
metric computes from arrays is a plain function of the same module; a module without `evaluate` is no metric.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from latentmix.data import Split
from latentmix.methods.roles import Decodes, Encodes

Count = Annotated[int, Field(ge=1)]  # options of this type are checked where they are typed


class Score(NamedTuple):
    """Numbers, and the protocol that made them.

    Arguments:
        values: Each number by its name.
        protocol: What decided the numbers: sample counts, choices made on validation, seeds; JSON values.
    """

    values: dict[str, float]
    protocol: dict[str, object]


_kept: ContextVar[dict[tuple[int, int], tuple[Tensor, Tensor]] | None] = ContextVar("kept", default=None)


@contextmanager
def codes_kept() -> Iterator[None]:
    """Let several metrics of the same weights encode each split once; inside, nothing may be trained."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


@torch.no_grad()
def encode(method: Encodes, split: Split, index: Tensor | None = None, *, batch_size: int = 500) -> Tensor:
    """Encode images of a split in batches: flat codes, shape (N, d_h), float32, on the CPU.

    Arguments:
        index: Which images, shape (N,); all of them if None.
        batch_size: Images encoded at a time; it decides memory, not the codes.

    Raises:
        ValueError: Codes that are not finite.
    """
    kept, key = _kept.get(), (id(method), id(split.images))
    if index is None and kept is not None:
        if key not in kept:  # beside its images: kept alive, their id cannot become another's
            kept[key] = split.images, encode(method, split, torch.arange(len(split)), batch_size=batch_size)
        return kept[key][1].clone()
    index = torch.arange(len(split)) if index is None else index.cpu()
    device = device_of(method)
    codes: Tensor | None = None
    for start in range(0, len(index), batch_size):
        part = index[start : start + batch_size]
        h = method.encode(split.pixels(part.to(split.images.device)).to(device)).flatten(1).float().cpu()
        codes = torch.empty(len(index), h.shape[1]) if codes is None else codes
        codes[start : start + len(part)] = h
    if codes is None:
        raise ValueError("there are no images to encode")
    require_finite(codes, "codes")
    return codes


@torch.no_grad()
def decode(method: Decodes, codes: Tensor, *, batch_size: int = 500) -> Tensor:
    """Decode flat codes (N, d_h) or codes (N, ...) in batches: images (N, C, H, W), float32, on the CPU."""
    device, shape = device_of(method), method.code_shape
    parts = codes.reshape(-1, *shape).split(batch_size)
    return torch.cat([method.decode(part.to(device)).float().cpu() for part in parts])


def device_of(method: object) -> torch.device:
    """Where a method's parameters are."""
    return next(cast(nn.Module, method).parameters()).device


def require_finite(x: Tensor, what: str) -> None:
    """Raise ValueError if rows of x, shape (N, ...), hold NaN or infinity; `what` names them."""
    bad = int((~x.flatten(1).isfinite().all(1)).sum()) if len(x) else 0
    if bad:
        raise ValueError(
            f"{bad} of {len(x)} {what} are NaN or infinite; train again or take a good checkpoint"
        )
