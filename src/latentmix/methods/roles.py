"""Roles: what other code may do with a method; the type hint of a metric names the role that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Encodes(Protocol):
    """A method whose `encode` maps images (B, C, H, W) in [-1, 1] to codes (B, ...), deterministically."""

    def encode(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class Decodes(Protocol):
    """A method whose `decode` maps codes (B, *code_shape) to images (B, C, H, W), about in [-1, 1]."""

    code_shape: tuple[int, ...]

    def decode(self, h: Tensor) -> Tensor: ...


@runtime_checkable
class Classifies(Protocol):
    """A method whose `classify` maps images (B, C, H, W) in [-1, 1] to logits (B, K)."""

    def classify(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class Samples(Protocol):
    """A method whose `sample` draws n images (n, C, H, W), about in [-1, 1], determined by the generator."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor: ...


@runtime_checkable
class Autoencodes(Encodes, Decodes, Protocol):
    """A method that encodes and decodes, with codes of the same shape."""


MEMBERS = ("encode", "code_shape", "decode", "classify", "sample")
Role = TypeVar("Role")


def missing(method: object, role: type) -> list[str]:
    """List the members of a role that a method lacks, in the order of `MEMBERS`.

    Example:
        >>> missing(object(), Autoencodes)
        ['encode', 'code_shape', 'decode']
    """
    wanted = {name for cls in role.__mro__ for name in (*vars(cls), *vars(cls).get("__annotations__", ()))}
    return [name for name in MEMBERS if name in wanted and not hasattr(method, name)]


def require(method: object, role: Callable[..., Role], what: str) -> Role:
    """Return the method, typed as one that has a role.

    Arguments:
        what: What needs the role, for the message.

    Raises:
        ValueError: The method lacks members of the role; the message names them.
    """
    if lacking := missing(method, cast(type, role)):
        raise ValueError(
            f"{what} needs a method with {', '.join(lacking)}, which {type(method).__name__} has not"
        )
    return cast(Role, method)
