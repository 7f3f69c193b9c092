"""Roles: what a method can do, as protocols that a metric, a picture or a command asks for."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Encodes(Protocol):
    """Turns images into codes."""

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, ...) of images (B, C, H, W) in [-1, 1]; deterministic."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """Turns codes of shape (B, *code_shape) into images."""

    code_shape: tuple[int, ...]

    def decode(self, h: Tensor) -> Tensor:
        """Return the images (B, C, H, W), about [-1, 1], of codes (B, *code_shape)."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Turns images into logits."""

    def classify(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) for images (B, C, H, W) in [-1, 1]."""
        ...


@runtime_checkable
class Samples(Protocol):
    """Draws images from nothing but random numbers."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n images (n, C, H, W), about [-1, 1]."""
        ...


@runtime_checkable
class Autoencodes(Encodes, Decodes, Protocol):
    """Encodes images and decodes codes."""
