"""The base of classifiers trained by SGD: one network, a learning rate that drops, accuracy as the aim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.layers import INPUT
from latentmix.methods import Batch, Method

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)
]
Share = Annotated[float, Field(gt=0, lt=1)]


class ClassifyingMethod(Method):
    """A network that classifies images and is trained by SGD with Nesterov momentum of 0.9.

    Its role is `Classifies`. Subclasses define `losses`, and `prepare` if the network does not see images in
    [-1, 1] as they are.

    Arguments:
        network: Maps prepared images (B, C, H, W) to logits (B, K); the only player.
        drops: Shares of the training after which the learning rate is divided by ten.
        decay: Weight decay, on all weights.
    """

    lr = 0.1
    best = "accuracy"

    def __init__(self, network: nn.Module, *, drops: tuple[float, ...], decay: float) -> None:
        super().__init__()
        self.network = network
        self.drops, self.decay = drops, decay

    @property
    def paced(self) -> bool:  # type: ignore[override]
        """Whether the learning rate drops at given shares of the training."""
        return bool(self.drops)

    def prepare(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to what the network sees."""
        return x

    def classify(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to logits (B, K)."""
        return self.network(self.prepare(x))

    def optimiser(self, player: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr, 0.9, nesterov=True, weight_decay=self.decay)

    def rates(self, values: Mapping[str, Tensor], done: float) -> dict[str, float]:
        """Return 0.1 to the power of the number of drops that have passed."""
        return {"network": 0.1 ** sum(done >= drop for drop in self.drops)}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Measure whether each image is classified correctly, and its cross-entropy (NLL)."""
        return accuracy_and_nll(self.classify(batch.x), batch.y)


def accuracy_and_nll(logits: Tensor, y: Tensor | None) -> dict[str, Tensor]:
    """Compute {"accuracy", "nll"} of each image from logits (B, K) and class indices (B,)."""
    assert y is not None, "validation images of a classifier have labels"
    nll = F.cross_entropy(logits.float(), y, reduction="none")
    return {"accuracy": (logits.argmax(1) == y).float(), "nll": nll}


def mixing_label(layers: Names) -> str:
    """Return the name that figures use for a classifier mixed at these layers."""
    return "no mixup" if not layers else "input mixup" if layers == (INPUT,) else "Manifold Mixup"
