"""A semi-supervised classifier: few labelled images and many unlabelled ones, both mixed at hidden layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data.zca import Zca, contrast_normalised
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.classifying import ClassifyingMethod, Names, Share, mixing_label
from latentmix.networks import ClassifyingNetwork
from latentmix.networks.wide_resnet import WideResNet

STEM_L1 = 1e-3
SOFT = 0.1  # regulariser of ZCA after contrast normalisation, in the code of Oliver et al.

Concentration = Annotated[float, Field(gt=0, le=1e6)]


class SemiSupervised(ClassifyingMethod):
    """min_N E[l(N(mix), mixed y)] over labelled images + w(t) E[|N(mix u) - mix N(u)|^2] over all images.

    Labelled images are mixed with lam ~ Beta(0.1, 0.1). The images u of the second stream, whose targets are
    the network's own predictions, are mixed with lam ~ Beta(2, 2). Each mix is at a layer that is drawn for
    the batch. The weight ramps up as w(t) = weight exp(-5 (1 - s)^2), with s rising from 0 to 1 over the
    share `ramp` of the training.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes.
        network: The architecture; it needs a `classifier`.
        layers: Where to mix: "input" alone is input mixup; "none" learns from the labelled images only, with
            the same number of steps.
        weight: Weight of the consistency loss after the ramp.
        form: With "clean", predictions are probabilities, targets are predicted in evaluation mode, and the
            consistency is the squared distance of two distributions. With "paper", as in the published code,
            predictions are logits, targets are predicted in training mode with dropout, squared differences
            are averaged over the classes as well, and 0.001 times the L1 norm of the first weight is added.
        zca: Whether to whiten images by statistics of the training images.
        contrast: Whether to normalise the contrast of each image before it is whitened, which is then less
            strict, as Oliver et al. prepare CIFAR-10.
        noise: Deviation of the Gaussian noise that is added to prepared images while training; 0.15 is that
            of Oliver et al. for CIFAR-10.
        alpha_labelled, alpha_unlabelled: Concentrations of lam, above 0.
        ramp: Share of the training over which the consistency's weight ramps up.
        drops: Shares of the training after which the learning rate is divided by ten.
        decay: Weight decay of SGD, on all weights.

    Raises:
        ValueError: The data have no labels, or the network lacks a layer.

    References:
        "Manifold Mixup", Verma et al., arXiv 1806.05236 v1, section 4.3, appendix C, algorithms 1 to 3; the
        ramp is that of Tarvainen and Valpola, "Mean teachers are better role models", 2017.
    """

    batch_size = 100
    trains_on = "both"
    paced = True  # by the ramp

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None,
        *,
        network: ClassifyingNetwork = WideResNet(),  # noqa: B008, a frozen value
        layers: Names = ("input", "layer1", "layer2"),
        weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0,
        form: Literal["clean", "paper"] = "clean",
        zca: bool = False,
        contrast: bool = False,
        noise: Annotated[float, Field(ge=0, le=1e6)] = 0.0,
        alpha_labelled: Concentration = 0.1,
        alpha_unlabelled: Concentration = 2.0,
        ramp: Share = 0.4,
        drops: tuple[Share, ...] = (1 / 2, 3 / 4, 7 / 8),
        decay: Annotated[float, Field(ge=0, le=1)] = 5e-4,
    ) -> None:
        if not num_classes:
            raise ValueError("method semi_supervised needs data with labels, and these have none")
        super().__init__(network.classifier(shape, num_classes), drops=drops, decay=decay)
        self.weight, self.form, self.ramp = weight, form, ramp
        self.alphas = alpha_labelled, alpha_unlabelled
        self.contrast, self.noise = contrast, noise
        self.whiten = Whitening(math.prod(shape), *([SOFT] if contrast else [])) if zca else None
        layers = tuple(name for name in layers if name != "none")
        self.label = mixing_label(layers) if layers else "supervised only"
        self._mixup = ManifoldMixup(self.network, layers) if layers else None

    def begin(self, images: Tensor, labels: Tensor | None) -> None:
        if self.whiten is not None:
            self.whiten.fit(images, contrast_normalised if self.contrast else None)

    def losses(self, batch: Batch) -> Losses:
        if batch.y is None or batch.unlabelled is None:
            raise ValueError("method semi_supervised needs batches of labelled and of unlabelled images")
        x, u = (self._noisy(self.prepare(part), batch) for part in (batch.x, batch.unlabelled))
        supervised = self.supervised(x, batch.y, batch.host)
        values = {"supervised": supervised}
        loss = supervised
        if self._mixup is not None:
            values["consistency"] = self.consistency(u, batch.host)
            loss = loss + self.weight * ramp_up(batch.done / self.ramp) * values["consistency"]
        if self.form == "paper":
            loss = loss + STEM_L1 * next(self.network.parameters()).abs().sum()
        return {"network": loss}, values

    def supervised(self, x: Tensor, y: Tensor, generator: torch.Generator | None) -> Tensor:
        """Cross-entropy of labelled images (B, C, H, W) and class indices (B,), mixed if there are layers."""
        if self._mixup is None:
            return F.cross_entropy(self.network(x), y)
        with self._mixup(len(x), alpha=self.alphas[0], generator=generator) as m:
            return m.loss(F.cross_entropy, self.network(x), y)

    def consistency(self, u: Tensor, generator: torch.Generator | None) -> Tensor:
        """Squared distance between the prediction for a mix of u (B, C, H, W) and the mix of predictions."""
        assert self._mixup is not None, "nothing is mixed"
        with torch.no_grad():
            self.network.train(self.form == "paper")
            target = self._predict(u)
        self.network.train()
        with self._mixup(len(u), alpha=self.alphas[1], generator=generator) as m:
            apart = (self._predict(u) - m.target(target)).square()
        return apart.mean() if self.form == "paper" else apart.sum(1).mean()

    def prepare(self, x: Tensor) -> Tensor:
        """Prepare images in [-1, 1] for the network, normalised with `contrast` and whitened with `zca`."""
        x = contrast_normalised(x) if self.contrast else x
        return x if self.whiten is None else self.whiten(x)

    def _noisy(self, x: Tensor, batch: Batch) -> Tensor:
        if not self.noise:
            return x
        return x + self.noise * torch.empty_like(x).normal_(generator=batch.generator)

    def _predict(self, u: Tensor) -> Tensor:
        return self.network(u) if self.form == "paper" else self.network(u).softmax(1)


class Whitening(nn.Module):
    """ZCA whitening as a module without parameters: (x - mean) W, fitted once to training images.

    Arguments:
        pixels: Length of a flat image.
        regulariser: Variance that is added to all directions (`Zca.fit`).
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, pixels: int, regulariser: float = 1e-5) -> None:
        super().__init__()
        self.regulariser = regulariser
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("matrix", torch.eye(pixels))

    def fit(self, images: Tensor, before: Callable[[Tensor], Tensor] | None = None) -> None:
        """Learn mean and matrix from uint8 images (N, C, H, W), mapped by `before` if it is given."""
        pixels = images.float().div_(127.5).sub_(1)
        zca = Zca.fit(pixels if before is None else before(pixels), self.regulariser)
        self.mean.copy_(zca.mean)
        self.matrix.copy_(zca.whiten)

    def forward(self, x: Tensor) -> Tensor:
        """Whiten images (B, C, H, W) in [-1, 1]."""
        return ((x.flatten(1) - self.mean) @ self.matrix).reshape(x.shape)


def ramp_up(share: float) -> float:
    """The ramp exp(-5 (1 - s)^2) with s = min(share, 1), which rises from 0.0067 to 1.

    References:
        Tarvainen and Valpola, "Mean teachers are better role models", 2017.
    """
    return math.exp(-5 * (1 - min(1.0, share)) ** 2)
