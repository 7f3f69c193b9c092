"""The parts of a draw of Manifold Mixup: partners within layers, and checks of what the caller gives."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from latentmix.mixing import Mix


def sample_count(batch: Any) -> int:
    """Return a number of samples, checked.

    Raises:
        ValueError: It is not a whole number of at least 1.
    """
    try:
        size = operator.index(batch)
    except TypeError:
        size = 0
    if size < 1 or isinstance(batch, bool):
        raise ValueError(f"batch={batch!r}: give the number of samples, for example len(x), or a Mix")
    return size


def on_host(generator: torch.Generator | None) -> torch.Generator | None:
    """Return a generator, which must be on the CPU so that no draw waits for the device.

    Raises:
        ValueError: It is on another device.
    """
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(f"generator on {generator.device}: draws are made on the host, give one there")
    return generator


def partners_within_layers(drawn: list[int], generator: torch.Generator | None) -> Tensor:
    """Draw partners, a permutation within each layer, because states of different layers cannot be mixed.

    Arguments:
        drawn: The index of each sample's layer.

    Returns:
        Shape (2, B); the first row is the batch itself.
    """
    partners = torch.arange(len(drawn), device="cpu")
    layers = torch.tensor(drawn, device="cpu")
    for i in sorted(set(drawn)):
        rows = (layers == i).nonzero()[:, 0]
        partners[rows] = rows[torch.randperm(len(rows), generator=generator, device="cpu")]
    return torch.stack([torch.arange(len(drawn), device="cpu"), partners])


def check_mix(mix: Mix, drawn: list[int]) -> None:
    """Check that the first row of a mix is the batch itself, and that only states of one layer are mixed.

    Arguments:
        drawn: The index of the layer, or of each sample's layer.

    Raises:
        ValueError: It is not so. A mix on another device is not looked at.
    """
    partners = mix.partners
    if partners.device.type != "cpu":
        return  # reading it would make the host wait
    if not torch.equal(partners[0], torch.arange(partners.shape[1])) or len(partners) < 2:
        raise ValueError("a mix needs the batch itself in its first row of partners, and at least two rows")
    if len(drawn) > 1 and any(drawn[p] != drawn[b] for row in partners.tolist() for b, p in enumerate(row)):
        raise ValueError("a sample's partners must be mixed in the same layer as the sample")
