"""A classifier trained without mixing, with input mixup, or with Manifold Mixup at any layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.classifying import ClassifyingMethod, Names, Share, mixing_label
from latentmix.networks import ClassifyingNetwork
from latentmix.networks.resnet import PreActResNet

# Published mean and standard deviation of each channel, for pixels from 0 to 255.
STATISTICS = {
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "svhn": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


class Classifier(ClassifyingMethod):
    """min_N E[lam l(N, y) + (1 - lam) l(N, y')], with the states of a randomly drawn layer mixed by lam.

    The hidden states become lam h + (1 - lam) h', lam ~ Beta(alpha, alpha), where h' and y' are the states
    and labels of a permutation of the batch. Layer and lam are drawn for each batch. Without layers this is
    plain training; with the layer "input" alone it is input mixup. The network sees pixels normalised per
    channel, (pixels - mean) / deviation; by default both are measured on the training images.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes.
        network: The architecture; it needs a `classifier`.
        layers: Where to mix: names of layers or "input"; one of them is drawn for each batch. The paper's
            "all layers" adds layer3 and uses alpha = 6; input mixup uses alpha = 1. "none" for no mixing.
        alpha: Concentration of lam, above 0.
        detach: Block the gradient at the mixed layer (section 4.1).
        loss: "bce_on_softmax", the loss of the published code, or "cross_entropy", the loss in the text; the
            published code of the first version trained unmixed networks with the latter. Near the start, the
            gradient of the former is 1 / (K - 1) of that of the latter, so compare networks only under the
            same loss.
        drops: Shares of the training after which the learning rate is divided by ten.
        optimiser: "sgd" with Nesterov momentum of 0.9, or "adam" with betas (0.9, 0.999) and no decay.
        decay: Weight decay of "sgd", on all weights.
        statistics: Statistics to normalise by: "measured", "range" to leave pixels in [-1, 1] unchanged, or
            "cifar10", "cifar100" or "svhn" for the published numbers.

    Raises:
        ValueError: The data have no labels, the network lacks a layer, or the published statistics have
            another number of channels.

    References:
        "Manifold Mixup", Verma et al., arXiv 1806.05236 v1, section 4.1 and appendix A; what the text leaves
        open (batch size, learning rate, momentum, crops, loss) follows the code published with it.
    """

    batch_size = 128
    trains_on = "labelled"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None,
        *,
        network: ClassifyingNetwork = PreActResNet(),  # noqa: B008, a frozen value
        layers: Names = ("input", "layer1", "layer2"),
        alpha: Annotated[float, Field(gt=0, le=1e6)] = 2.0,
        detach: bool = False,
        loss: Literal["bce_on_softmax", "cross_entropy"] = "bce_on_softmax",
        drops: tuple[Share, ...] = (1 / 3, 2 / 3),
        optimiser: Literal["sgd", "adam"] = "sgd",
        decay: Annotated[float, Field(ge=0, le=1)] = 1e-4,
        statistics: Literal["measured", "range", "cifar10", "cifar100", "svhn"] = "measured",
    ) -> None:
        if not num_classes:
            raise ValueError("method classifier needs data with labels, and these have none")
        super().__init__(network.classifier(shape, num_classes), drops=drops, decay=decay)
        self.criterion: Callable[[Tensor, Tensor], Tensor] = LOSSES[loss]
        self.kind, self.statistics = optimiser, statistics
        self.register_buffer("mean", torch.zeros(shape[0], 1, 1))
        self.register_buffer("std", torch.ones(shape[0], 1, 1))
        layers = tuple(name for name in layers if name != "none")
        self.label = mixing_label(layers)
        self._mixup = ManifoldMixup(self.network, layers, alpha=alpha, detach=detach) if layers else None

    def begin(self, images: Tensor, labels: Tensor | None) -> None:
        mean, std = channel_statistics(images, self.statistics)
        self.mean.copy_(mean)
        self.std.copy_(std)

    def losses(self, batch: Batch) -> Losses:
        if batch.y is None:
            raise ValueError("method classifier got a batch without labels")
        loss = mixed_loss(
            self.network, self._mixup, self.criterion, self.prepare(batch.x), batch.y, batch.host
        )
        return {"network": loss}, {}

    def optimiser(self, player: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        if self.kind == "adam":
            return torch.optim.Adam(parameters, lr=lr)
        return super().optimiser(player, parameters, lr)

    def prepare(self, x: Tensor) -> Tensor:
        """Normalise images x in [-1, 1] for the network: ((x + 1) / 2 - mean) / deviation."""
        return ((x + 1) / 2 - self.mean) / self.std


def mixed_loss(
    network: nn.Module,
    mixup: ManifoldMixup | None,
    criterion: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """Compute the loss of one batch, mixed by one draw of `mixup`; without mixing if `mixup` is None."""
    if mixup is None:
        return criterion(network(x), y)
    with mixup(len(x), generator=generator) as m:
        return m.loss(criterion, network(x), y)


def bce_on_softmax(logits: Tensor, y: Tensor) -> Tensor:
    """The published loss: mean over samples and classes of -y log p - (1 - y) log(1 - p), p the softmax.

    Near the start its gradient is 1 / (K - 1) of that of cross-entropy, so the two need different learning
    rates.

    Arguments:
        logits: Shape (B, K).
        y: Class indices (B,), or soft labels (B, K).
    """
    y = F.one_hot(y, logits.shape[1]).to(logits.dtype) if y.ndim == 1 else y
    log_p = logits.log_softmax(1)
    # 1 - p is the sum of p over the other classes; from their logits, it stays exact where p is near 1.
    others = (
        logits[:, None]
        .expand(-1, logits.shape[1], -1)
        .masked_fill(torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device), -math.inf)
    )
    log_q = others.logsumexp(2) - logits.logsumexp(1, keepdim=True)
    return -(y * log_p.clamp_min(-100) + (1 - y) * log_q.clamp_min(-100)).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce_on_softmax": bce_on_softmax,
    "cross_entropy": F.cross_entropy,
}


def channel_statistics(images: Tensor, which: str = "measured") -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel for pixels from 0 to 1, each (C, 1, 1), float32.

    Arguments:
        images: The images to measure, shape (N, C, H, W), uint8.
        which: "measured"; "range" for 1/2 and 1/2, which map pixels to [-1, 1]; or a key of `STATISTICS`.

    Raises:
        ValueError: The images do not have as many channels as the published statistics.
    """
    if which == "range":
        mean = std = torch.full((images.shape[1],), 0.5, device=images.device)
    elif which != "measured":
        if images.shape[1] != 3:
            raise ValueError(f"statistics={which} are for 3 channels, and the images have {images.shape[1]}")
        mean, std = torch.tensor(STATISTICS[which], device=images.device) / 255
    else:
        # Counting how often each of the 256 values occurs is exact, without a floating-point copy of images.
        values = torch.arange(256, device=images.device, dtype=torch.float64) / 255
        shares = torch.stack([c.flatten().bincount(minlength=256) for c in images.transpose(0, 1)])
        shares = shares.double() / images[:, 0].numel()
        mean = shares @ values
        std = (shares @ values.square() - mean.square()).clamp_min(1e-12).sqrt()
    return mean.float().reshape(-1, 1, 1), std.float().reshape(-1, 1, 1)
