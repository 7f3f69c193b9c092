"""What others may do with a method; the type hint of a metric names the role that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Encodes(Protocol):
    """Has codes: `encode` maps images (B, C, H, W) in [-1, 1] to codes (B, ...), deterministically."""

    def encode(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class Decodes(Protocol):
    """Has images: `decode` maps codes (B, *code_shape) to images (B, C, H, W), about [-1, 1]."""

    code_shape: tuple[int, ...]

    def decode(self, h: Tensor) -> Tensor: ...


@runtime_checkable
class Classifies(Protocol):
    """Has an opinion: `classify` maps images (B, C, H, W) in [-1, 1] to logits (B, K)."""

    def classify(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class Samples(Protocol):
    """Draws images: `sample` returns n of them, (n, C, H, W), about [-1, 1], decided by the generator."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor: ...


@runtime_checkable
class Autoencodes(Encodes, Decodes, Protocol):
    """Encodes and decodes, with codes of one shape."""


MEMBERS = ("encode", "code_shape", "decode", "classify", "sample")
Role = TypeVar("Role")


def missing(method: object, role: type) -> list[str]:
    """The members of a role that a method lacks, in the order of `MEMBERS`."""
    wanted = {name for cls in role.__mro__ for name in (*vars(cls), *vars(cls).get("__annotations__", ()))}
    return [name for name in MEMBERS if name in wanted and not hasattr(method, name)]


def require(method: object, role: Callable[..., Role], what: str) -> Role:
    """The method, as one that has a role.

    Arguments:
        what: What needs it, for the message.

    Raises:
        ValueError: The method lacks something of the role; names it.
    """
    if lacking := missing(method, cast(type, role)):
        raise ValueError(
            f"{what} needs a method with {', '.join(lacking)}, which {type(method).__name__} has not"
        )
    return cast(Role, method)
