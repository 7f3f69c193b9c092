"""A classifier trained on images drawn from mixed factors, to compare with mixing pixels (Manifold Mixup)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data.sources.glyphs import SIDE, render
from latentmix.methods import Batch, Losses, Method, Shape
from latentmix.methods.classifying import accuracy_and_nll
from latentmix.mixing import Mixup
from latentmix.networks import ClassifyingNetwork
from latentmix.networks.strided_conv import StridedConv


class FactorMixing(Method):
    """min_N l(N(x_mix), lam y + (1 - lam) y'), where x_mix blends two images or is drawn from mixed factors.

    lam ~ Uniform(0, 1) for each pair, and l is the binary cross-entropy. The network has one logit, that of
    the second class. Mixed factors are truncated to integers before drawing, as published.

    Arguments:
        shape: Shape of an image, (1, 64, 64).
        num_classes: Must be 2.
        network: The architecture; it needs a `classifier`.
        mixing: What to mix: nothing ("none"), pixels ("input") or the true factors ("factor").

    Raises:
        ValueError: The data are not `data=turned_glyphs`, the only ones that can be drawn from factors.

    References:
        Manifold Mixup v1, section 6.2, appendix E and table 8.
    """

    lr = 1e-4
    batch_size = 128
    betas = (0.9, 0.999)
    weight_decay = 0.0

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None,
        *,
        network: ClassifyingNetwork = StridedConv(),  # noqa: B008, a frozen value
        mixing: Literal["none", "input", "factor"] = "factor",
    ) -> None:
        if shape != (1, SIDE, SIDE) or num_classes != 2:
            raise ValueError(
                f"method factor_mixing draws images of turned glyphs again from their factors: it needs "
                f"data=turned_glyphs image_size={SIDE}"
            )
        super().__init__()
        self.network = network.classifier(shape, 1)
        self.mixing = mixing
        self.label = {"none": "no mixup", "input": "mixed pixels", "factor": "mixed factors"}[mixing]

    def losses(self, batch: Batch) -> Losses:
        if batch.y is None or batch.factors is None:
            raise ValueError("method factor_mixing got a batch without labels or factors")
        x, y = batch.x, batch.y.to(batch.x.dtype)
        if self.mixing != "none":
            mix = Mixup()(x, batch.generator)
            y = mix(y)
            x = mix(x) if self.mixing == "input" else self.draw(mix(batch.factors.double()).trunc()).to(x)
        p = self.network((x + 1) / 2)[:, 0].float().sigmoid()
        with torch.autocast(x.device.type, enabled=False):  # which refuses this loss
            # Of probabilities, as published: its gradient vanishes where a probability rounds to 0 or 1.
            loss = F.binary_cross_entropy(p, y.float().clamp(0, 1))  # a mean of ones may round to more
        return {"network": loss}, {}

    @staticmethod
    def draw(factors: Tensor) -> Tensor:
        """Draw images (B, 1, 64, 64) in [-1, 1] from factors (B, 7)."""
        return torch.from_numpy(render(factors.cpu()))[:, None].float() / 127.5 - 1

    def optimiser(self, player: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=lr, betas=self.betas)

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Measure whether each image is classified correctly, and its cross-entropy (NLL), clamped at 100."""
        values = accuracy_and_nll(self.classify(batch.x), batch.y)
        return values | {"nll": values["nll"].clamp_max(100)}

    def classify(self, x: Tensor) -> Tensor:
        """Map images in [-1, 1] to logits (B, 2); the first logit is 0."""
        return F.pad(self.network((x + 1) / 2), (1, 0))
