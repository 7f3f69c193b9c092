"""Roles: what other code may do with a method; the type hint of a metric names the role that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast, get_args, runtime_checkable

import torch
from torch import Tensor

from latentmix.data.names import name_of


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


Role = TypeVar("Role")
DOES: dict[type, str] = {
    Encodes: "encodes images",
    Decodes: "decodes codes",
    Classifies: "classifies images",
    Samples: "draws samples",
}


def missing(method: object, wanted: object, what: str) -> str | None:
    """Say in one line what a method lacks; None if it lacks nothing.

    Arguments:
        wanted: A role, a union of roles of which one suffices, or a class; other type hints ask for nothing.
        what: What needs the method, for the message.

    Example:
        >>> missing(object(), Encodes, "probe")
        'probe needs a method that encodes images (encode); object has no encode'
    """
    choices = [
        choice for choice in get_args(wanted) or (wanted,) if isinstance(choice, type) and choice is not Any
    ]
    lacking = [_lacking(method, choice) for choice in choices]
    if not lacking or not all(lacking):
        return None
    needs = " or ".join(" and ".join(parts) for parts in lacking)
    absent = dict.fromkeys(m for parts in lacking for members in parts.values() for m in members)
    has = f"has no {', '.join(absent)}" if absent else "is not"
    return f"{what} needs a method that {needs}; {name_of(type(method))} {has}"


def require(method: object, role: Callable[..., Role], what: str) -> Role:
    """Return the method, typed as one that has a role.

    Arguments:
        what: What needs the role, for the message.

    Raises:
        ValueError: The method lacks members of the role; the message names them.
    """
    if (reason := missing(method, role, what)) is not None:
        raise ValueError(reason)
    return cast(Role, method)


def _lacking(method: object, role: type) -> dict[str, list[str]]:
    """Return what a method lacks of a role, {"decodes codes (code_shape, decode)": missing members}."""
    if not getattr(role, "_is_protocol", False):
        return {} if isinstance(method, role) else {f"is of class {role.__name__}": []}
    lacking = {}
    for part in role.__mro__:
        own = {**vars(part), **vars(part).get("__annotations__", {})}
        members = sorted(m for m in own if not m.startswith("_")) if getattr(part, "_is_protocol", 0) else []
        if absent := [member for member in members if not hasattr(method, member)]:
            does = DOES.get(part, f"has the role {part.__name__}")
            lacking[f"{does} ({', '.join(members)})"] = absent
    return lacking
