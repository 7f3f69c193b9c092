"""Methods: networks plus the losses that train them; one file per idea, and the folder is the list.

The contract: ``losses(batch) -> {player: loss}, {name: value}``. A *player* is a submodule with an optimiser
of its own. The loop differentiates each player's loss with respect to that player's parameters *only*, so a
method states its losses as the paper does, without `detach`; and the loop freezes players that do not step
on a batch, so their graph is never built. A method never sees data sets, devices, optimisers or files.

A method's constructor takes what the data decide, ``shape`` (C, H, W) and, where it wants them, ``labels``
(number of classes) and ``attributes`` (number of binary attributes); everything else is keyword-only and is
its configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data import UNLABELLED
from latentmix.networks import EncoderDecoder

Shape = tuple[int, int, int]
Losses = tuple[dict[str, Tensor], dict[str, Tensor]]
Reconstruction = Literal["l1", "l2", "bce"]


@dataclass(frozen=True)
class Batch:
    """What a step sees.

    Arguments:
        x: Images, shape (B, C, H, W), in [-1, 1].
        y: Class indices, shape (B,), -1 where unlabelled, or None.
        attributes: Binary attributes, shape (B, A), or None.
        generator: Where all random numbers of the step come from; torch's own if None.
    """

    x: Tensor
    y: Tensor | None = None
    attributes: Tensor | None = None
    generator: torch.Generator | None = None


class Method(nn.Module):
    """An autoencoder and whatever trains it. Subclasses are final: they define `losses` and their submodules.

    Arguments:
        autoencoder: The player that encodes and decodes.
        reconstruction: The error that `reconstruction_error` takes; "bce" also squashes what is decoded.
        labels: Number of classes; adds an online linear probe as a player of its own.
        every: {player: n}: the player steps on every n-th batch of an epoch; 1 where unsaid.

    Attributes:
        betas, weight_decay: Adam's, for every player (AMR, section 4.1; the decay is coupled L2).
        label: The method's name in figures and tables.
    """

    betas: ClassVar[tuple[float, float]] = (0.5, 0.99)
    weight_decay: ClassVar[float] = 1e-5
    label: ClassVar[str]

    def __init__(
        self,
        autoencoder: EncoderDecoder,
        *,
        reconstruction: Reconstruction = "l1",
        labels: int | None = None,
        every: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.reconstruction = reconstruction
        self.every = dict(every or {})
        self.probe: nn.Module | None = None
        if labels is not None:
            units = math.prod(autoencoder.code_shape)
            with torch.random.fork_rng(devices=[]):  # so that a probe never moves the others' initialisation
                self.probe = nn.Sequential(nn.Flatten(), nn.Linear(units, labels))

    def losses(self, batch: Batch) -> Losses:
        """Each player's loss, and named values for the log (scalars, detached)."""
        raise TypeError(f"{type(self).__name__} defines no losses")

    def check(self, labels: Tensor | None) -> None:
        """Refuse labels (N,) of training images that `losses` cannot take; asked once, before the first step.

        Raises:
            ValueError: Such labels.
        """

    def players(self) -> dict[str, int]:
        """Names of the submodules that are trained, each with the period of its steps.

        Raises:
            ValueError: `every` names something that is no player, or a period below 1.
        """
        names = [n for n, child in self.named_children() if any(True for _ in child.parameters())]
        for name, period in self.every.items():
            if name not in names or period < 1:
                raise ValueError(
                    f"every.{name}={period}: periods are 1 or more; players are {', '.join(names)}"
                )
        return {name: self.every.get(name, 1) for name in names}

    def rates(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{player: share of the learning rate that it steps with}, from the step's values; 1 where unsaid."""
        return {}

    def encode(self, x: Tensor) -> Tensor:
        """h = f(x), deterministic: images (B, C, H, W) in [-1, 1] to codes (B, ...)."""
        return self.autoencoder.encode(x)

    def decode(self, h: Tensor) -> Tensor:
        """x = g(h): codes (B, ...) to images (B, C, H, W), about [-1, 1]."""
        x = self.autoencoder.decode(h)
        return torch.tanh(x / 2) if self.reconstruction == "bce" else x  # logits to 2 sigmoid - 1

    def realism(self, x: Tensor) -> Tensor | None:
        """The probability that images (B, C, H, W) are real, says the method's own adversary: (B,), or None.

        A critic that judges codes, or how much is mixed, or by reconstruction, is none of images.
        """
        return None

    def reconstruction_error(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Mean over all elements of |x_hat - x| (l1), its square (l2), or cross-entropy on [0, 1] (bce)."""
        if self.reconstruction == "l1":
            return F.l1_loss(x_hat, x)
        if self.reconstruction == "l2":
            return F.mse_loss(x_hat, x)
        # Not F.binary_cross_entropy, which autocast refuses. A pixel saturated to 0 or 1 exactly has an
        # infinite logarithm, whose gradient is not a number; a ten-millionth away it is large and finite.
        p, t = ((x_hat.float() + 1) / 2).clamp(1e-7, 1 - 1e-7), (x.float() + 1) / 2
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    def probe_losses(self, h: Tensor, batch: Batch) -> dict[str, Tensor]:
        """{"probe": cross-entropy of a linear probe on detached codes}; empty without labels. Section 4.1.

        Images with the label -1 do not count; a batch of them alone costs 0.
        """
        if self.probe is None or batch.y is None:
            return {}
        known = (batch.y != UNLABELLED).sum().clamp_min(1)
        cross = F.cross_entropy(self.probe(h.detach()), batch.y, ignore_index=UNLABELLED, reduction="sum")
        return {"probe": cross / known}
