"""Classifiers of small images, trained plainly, with input mixup or with Manifold Mixup.

References:
    "Manifold Mixup", Verma et al., arXiv 1806.05236 v1, section 4.1 and appendix A; what the text leaves open
    (batch, learning rate, Nesterov's momentum, crops, the loss) is from the code published with it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data import Split
from latentmix.data.subset import draw_evenly
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.metrics.robustness import bce_on_softmax
from latentmix.networks.resnet import PreActResNet

Criterion = Callable[[Tensor, Tensor], Tensor]
Mixing = Literal["none", "input", "manifold", "all layers"]
LAYERS: dict[str, list[str]] = {
    "none": [],
    "input": ["input"],
    "manifold": ["input", "layer1", "layer2"],
    "all layers": ["input", "layer1", "layer2", "layer3"],
}
Loss = Literal["cross-entropy", "BCE on softmax"]
LOSSES: dict[str, Criterion] = {"cross-entropy": F.cross_entropy, "BCE on softmax": bce_on_softmax}
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
SCORED = 500  # images at once without gradients
# Published mean and deviation of each channel, of pixels from 0 to 255.
STATISTICS = {
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "svhn": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


@dataclass(frozen=True)
class Training:
    """A PreActResNet, how it is trained, and on what; the defaults are those of table 1.

    SGD with Nesterov's momentum of 0.9 and weight decay of 1e-4 on all weights.

    Arguments:
        mixing: Which layers may be drawn for a batch, a key of `LAYERS`.
        alpha: lam ~ Beta(alpha, alpha), one for each batch; the paper takes 1 for "input", 6 for "all
            layers".
        detach: Block the gradient at the mixed layer.
        loss: The published code trains mixed batches by "BCE on softmax" and, in its first version, plain
            ones by "cross-entropy". Near the start the gradient of the former is 1 / (K - 1) of the latter's:
            two networks can only be compared under the same loss.
        depth, width: Of the network.
        drops: Epochs, counted from 0, from which on the learning rate is a tenth of what it was.
        pad: Images are padded by as much black and cropped at random; 0 for none.
        flip: Mirror half of the images; not for digits.
        labelled: How many training images to keep, as many of each class as can be, chosen by the seed.
        statistics: What to normalise by, a key of `STATISTICS`; measured on the training images if None.
    """

    mixing: Mixing = "manifold"
    alpha: float = 2.0
    detach: bool = False
    loss: Loss = "BCE on softmax"
    depth: Literal[18, 34, 152] = 18
    width: int = 64
    epochs: int = 1200
    drops: tuple[int, ...] = (400, 800)
    lr: float = 0.1
    batch: int = 128
    pad: int = 4
    flip: bool = True
    labelled: int | None = None
    statistics: str | None = None

    def __post_init__(self) -> None:
        known: dict[str, list[str | None]] = {
            "mixing": [*LAYERS],
            "loss": [*LOSSES],
            "statistics": [None, *STATISTICS],
        }
        for name, values in known.items():
            if (value := getattr(self, name)) not in values:
                raise ValueError(f"{name}={value!r}: take one of {', '.join(map(repr, values))}")
        if self.epochs < 1 or self.batch < 2:
            raise ValueError(f"epochs={self.epochs}, batch={self.batch}: at least 1 and 2")

    def learning_rate(self, epoch: int) -> float:
        """lr x 0.1^(how many of `drops` are not after `epoch`)."""
        return self.lr * 0.1 ** sum(epoch >= drop for drop in self.drops)


@dataclass(frozen=True)
class Classifier:
    """A trained network: a callable from pixels (B, C, H, W) in [0, 1] to logits (B, K).

    Arguments:
        network: In evaluation mode.
        mean, std: Of each channel, (C, 1, 1), in the same units; the network takes (pixels - mean) / std.
    """

    network: nn.Module
    mean: Tensor
    std: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        return self.network(self.normalise(pixels))

    def normalise(self, pixels: Tensor) -> Tensor:
        """(pixels - mean) / std."""
        return (pixels - self.mean) / self.std


@dataclass(frozen=True)
class Result:
    """What a training leaves.

    Arguments:
        last: The classifier after the last epoch.
        best: After the epoch of the highest accuracy on the images for selection, the first of equals.
        best_epoch: Counted from 0.
        history: Accuracy and NLL on the images for selection, after each epoch.
    """

    last: Classifier
    best: Classifier
    best_epoch: int
    history: list[dict[str, float]]


def train(
    training: Training,
    rows: Split,
    selection: Split,
    classes: int,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> Result:
    """Train on `rows`; whatever is drawn follows from `seed`. A last batch of one image is left out.

    Arguments:
        rows: Labelled training images.
        selection: Labelled images that choose the best epoch: validation images; or the test images, as in
            the published numbers, which are the best test accuracies of all epochs.

    Raises:
        ValueError: Images without labels, fewer of them than `labelled`, or statistics of another number of
            channels.
    """
    rows, selection = rows.to(device), selection.to(device)
    if rows.labels is None or selection.labels is None:
        raise ValueError("supervised training needs labels, and these images have none")
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    if training.labelled is not None:
        rows = balanced(rows, training.labelled, generator)
    images, labels = rows.images, rows.labels
    assert labels is not None
    shape = images.shape[1:]
    network = PreActResNet(training.depth, training.width).classifier((shape[0], shape[1], shape[2]), classes)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    classifier = Classifier(network, *channel_statistics(images, training.statistics))
    mixup = None
    if layers := LAYERS[training.mixing]:
        mixup = ManifoldMixup(
            network, layers, alpha=training.alpha, detach=training.detach, generator=generator
        )
    optimizer = torch.optim.SGD(
        network.parameters(), training.lr, MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    history: list[dict[str, float]] = []
    best_epoch, best = 0, network
    for epoch in range(training.epochs):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate(epoch)
        network.train()
        order = torch.randperm(len(rows), generator=generator).to(device)
        for index in order.split(training.batch):
            if len(index) == 1:
                continue
            cropped = crop_and_flip(images[index], training.pad, training.flip, generator)
            x, y = classifier.normalise(cropped / 255), labels[index]
            loss = mixed_loss(network, mixup, LOSSES[training.loss], x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        history.append(score(classifier, selection))
        if not epoch or history[epoch]["accuracy"] > history[best_epoch]["accuracy"]:
            best_epoch, best = epoch, copy.deepcopy(network)
    if mixup is not None:
        mixup.remove()
    return Result(classifier, dataclasses.replace(classifier, network=best), best_epoch, history)


def balanced(rows: Split, count: int, generator: torch.Generator) -> Split:
    """Draw `count` images, as many of each class as can be.

    Raises:
        ValueError: More than there are.
    """
    assert rows.labels is not None
    if not 1 <= count <= len(rows):
        raise ValueError(f"labelled={count}: there are {len(rows)} training images")
    return rows.take(draw_evenly(rows.labels.cpu(), count, generator).to(rows.labels.device))


def mixed_loss(
    network: nn.Module, mixup: ManifoldMixup | None, loss: Criterion, x: Tensor, y: Tensor
) -> Tensor:
    """The loss of one batch, mixed by one draw of `mixup`, or plain."""
    if mixup is None:
        return loss(network(x), y)
    with mixup(len(x)) as m:
        return m.loss(loss, network(x), y)


def crop_and_flip(images: Tensor, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Pad each image by black, cut out its size at a random place, and mirror half of them.

    All images at once, on their device; the draws are made on the host.

    Arguments:
        images: Shape (B, C, H, W), black being 0.
        generator: On the CPU.
    """
    count, _, height, width = images.shape
    down, right = torch.randint(2 * pad + 1, (2, count, 1), generator=generator).to(images.device)
    mirrored = (torch.rand(count, 1, generator=generator) < 0.5 * flip).to(images.device)
    columns = torch.arange(width, device=images.device).expand(count, width)
    columns = torch.where(mirrored, columns.flip(1), columns) + right
    lines = torch.arange(height, device=images.device) + down
    which = torch.arange(count, device=images.device)[:, None, None]
    padded = F.pad(images, (pad,) * 4)
    return padded[which, :, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def channel_statistics(images: Tensor, published: str | None) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel for pixels from 0 to 1, each (C, 1, 1), float32.

    Arguments:
        images: Shape (N, C, H, W), uint8; what is measured if `published`, a key of `STATISTICS`, is None.

    Raises:
        ValueError: Another number of channels than the published statistics have.
    """
    if published is not None:
        if images.shape[1] != 3:
            raise ValueError(f"statistics={published!r} are of 3 channels, the images have {images.shape[1]}")
        mean, std = torch.tensor(STATISTICS[published], device=images.device) / 255
    else:
        # From how often each of the 256 values occurs: exact, and no copy of all images in floating point.
        values = torch.arange(256, device=images.device, dtype=torch.float64) / 255
        shares = torch.stack([c.flatten().bincount(minlength=256) for c in images.transpose(0, 1)])
        shares = shares.double() / images[:, 0].numel()
        mean = shares @ values
        std = (shares @ values.square() - mean.square()).clamp_min(1e-12).sqrt()
    return mean.float().reshape(-1, 1, 1), std.float().reshape(-1, 1, 1)


@torch.no_grad()
def score(classifier: Callable[[Tensor], Tensor], split: Split) -> dict[str, float]:
    """Accuracy, from 0 to 1, and mean cross-entropy (NLL) on the images as they are."""
    assert split.labels is not None
    right, nll = torch.zeros(2, device=split.images.device, dtype=torch.float64)
    for images, y in zip(split.images.split(SCORED), split.labels.split(SCORED)):
        logits = classifier(images / 255)
        right += (logits.argmax(1) == y).sum()
        nll += F.cross_entropy(logits, y, reduction="sum")
    return {"accuracy": right.item() / len(split), "nll": nll.item() / len(split)}
