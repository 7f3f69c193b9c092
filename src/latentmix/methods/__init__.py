"""Methods: networks plus the losses that train them, one idea per file; `latentmix parts` lists this folder.

A method is an `nn.Module` that states its losses as its paper does: ``losses(batch) -> {player: loss}, {name:
value}``. A *player* is a direct submodule with trainable parameters and an optimiser of its own. The loop
(`latentmix.training`) differentiates each player's loss with respect to that player's parameters *only*, so
no method needs `detach`, and freezes players that skip a batch, so that their graph is never built.
Everything else that decides how a method is trained is stated here too: its optimisers, their learning rates,
what is measured on validation images, and which weights count as the best. A method never sees data sets,
devices or files.

A constructor takes what the data determine as positional arguments: ``shape`` (C, H, W) and, where the method
wants them, ``num_classes``, ``num_attributes`` and ``start`` (the method of the run that `start_from` names).
All other arguments are keyword-only; they are the method's configuration. Its roles
(`latentmix.methods.roles`) say what other code may do with a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]
Losses = tuple[dict[str, Tensor], dict[str, Tensor]]


def _alone(value: Tensor) -> Tensor:
    return value


@dataclass(frozen=True)
class Batch:
    """The data and random generators of one training step.

    Arguments:
        x: Images, shape (B, C, H, W), in [-1, 1]; or points, shape (B, D, 1, 1).
        y: Class indices, shape (B,), -1 for an image without a label; None for data without labels.
        attributes: Binary attributes, shape (B, A), or None.
        generator: Source of the step's random numbers, on the device; None means torch's default generator.
        unlabelled: Images of the second stream, shape (B', C, H, W), for methods that train on "both".
        done: Share of the training that is complete, in [0, 1).
        host: Generator on the CPU, seeded anew for each step, for draws that must not wait for the device.
        factors: The factors that generated each image, shape (B, F), or None.
        ranks: Number of processes that share the global batch; gradients are averaged over them.
        total: Function that sums a tensor over the ranks, without gradient. A mean over counts that differ
            between ranks, such as the mean over labelled images, is ``sum / (total(count) / ranks)`` on each
            rank.
    """

    x: Tensor
    y: Tensor | None = None
    attributes: Tensor | None = None
    generator: torch.Generator | None = None
    unlabelled: Tensor | None = None
    done: float = 0.0
    host: torch.Generator | None = None
    factors: Tensor | None = None
    ranks: int = 1
    total: Callable[[Tensor], Tensor] = _alone

    def mean_of(self, total: Tensor, count: Tensor) -> Tensor:
        """Divide a sum by a count that is averaged over all ranks; the result is 0 where the count is 0.

        The average of the gradients over ranks is then the gradient of the global mean.
        """
        count = self.total(count) if self.ranks > 1 else count
        return total / torch.where(count > 0, count, 1) * self.ranks


class Method(nn.Module):
    """Networks and the losses that train them. Subclasses define `losses` and their submodules.

    Attributes:
        label: The method's name in figures and tables.
        lr, batch_size: Defaults for runs that do not set them.
        betas, weight_decay: Settings of the default optimiser, Adam (AMR, section 4.1; the decay is coupled
            L2).
        trains_on: Which images a batch holds: "all" images, only "labelled" ones, or "both": labelled images
            in `Batch.x` and all images in `Batch.unlabelled`.
        companions: {player: leader}: players that step when their leader steps, unless a run says otherwise.
        best: The value of `validate` by which the best epoch is chosen, with "-" in front if smaller is
            better; "" if the last weights are the ones to use. Ties go to the later epoch.
        memory_format: How weights lie in memory: channels last is a quarter faster for small maps
            (benchmarks/RESULTS.md), and gives other last bits.
        paced: Whether losses or rates depend on `Batch.done`, so that a finished run cannot be extended.
        capturable: Whether each step launches the same operations whatever the values are, so that a GPU can
            replay it as a graph: nothing is drawn on the host, and no tensor becomes a number of Python.
    """

    label: str
    lr: ClassVar[float] = 1e-3
    batch_size: ClassVar[int] = 64
    betas: ClassVar[tuple[float, float]] = (0.5, 0.99)
    weight_decay: ClassVar[float] = 1e-5
    trains_on: Literal["all", "labelled", "both"] = "all"
    companions: ClassVar[Mapping[str, str]] = {}
    best: str = ""
    memory_format: torch.memory_format = torch.channels_last
    paced: ClassVar[bool] = False
    capturable: ClassVar[bool] = False

    def begin(self, images: Tensor, labels: Tensor | None) -> None:
        """Check the training images and fill buffers from them; called once before the first step.

        Arguments:
            images: Shape (N, C, H, W), uint8 (or float32 for points), on the method's device.
            labels: Shape (N,), -1 for an image without a label; or None.

        Raises:
            ValueError: The method cannot be trained on these data.
        """

    def losses(self, batch: Batch) -> Losses:
        """Compute each player's loss, and named scalars for the log."""
        raise TypeError(f"{type(self).__name__} defines no losses")

    def stages(self, batch: Batch) -> Iterator[Losses]:
        """Yield losses one or more times per batch; after each `yield` the players named in it step.

        Code after the last `yield` runs when all players have stepped, which is the place for moving
        averages. No context, such as ``with mixup(...)`` or ``torch.no_grad()``, may stay open across a
        `yield`.
        """
        yield self.losses(batch)

    def optimiser(self, player: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Make the optimiser of one player."""
        fused = parameters[0].device.type in ("cpu", "cuda")
        return torch.optim.Adam(
            parameters, lr=lr, betas=self.betas, weight_decay=self.weight_decay, fused=fused
        )

    def rates(self, values: Mapping[str, Tensor], done: float) -> Mapping[str, Tensor | float]:
        """Return the factor on each player's learning rate; it is 1 for players that are left out.

        Arguments:
            values: What `losses` returned, averaged over all ranks.
            done: Share of the training that is complete.
        """
        return {}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Measure validation images, which come in portions of any size.

        Returns:
            Named values. The first dimension of each is that of the images, or 1 for a mean over the batch; a
            mean of shape () is one number. Shapes beyond (B,) are for `summarise`.
        """
        return {}

    def summarise(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute what is logged of a validation, from the means of `validate` over all its images.

        What is no mean over images, such as a variance or an entropy, is computed here from means, so that it
        is that of the whole set.

        Arguments:
            means: Float64, of the shape of one row of each value.

        Returns:
            Numbers, of shape ().
        """
        return means

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Return the trainable parameters of each player, that is, of each direct submodule that has any."""
        found = {n: [p for p in child.parameters() if p.requires_grad] for n, child in self.named_children()}
        return {name: parameters for name, parameters in found.items() if parameters}
