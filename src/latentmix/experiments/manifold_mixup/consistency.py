"""The two losses of semi-supervised Manifold Mixup: of a few labelled images, and of many without labels."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup, MixedPass
from latentmix.mixing import Mixup

Form = Literal["clean", "paper"]

ALPHA_LABELLED, ALPHA_UNLABELLED = 0.1, 2.0
RAMP = 0.4  # of the training, until the consistency loss has its full weight
STEM_L1 = 1e-3


class Learner:
    """A network and the two losses that it learns from.

    Arguments:
        layers: Where to mix; nowhere if None.
        form: "clean": the network says probabilities, predicts targets as it is tested, and the consistency
            loss is the squared distance of two distributions. "paper", the published code: it says logits and
            predicts targets in training mode, with dropout and moving the statistics of its norms; squared
            differences are averaged over classes, too; and 0.001 times the L1 norm of the first weight is
            added (the paper has "L1 regularization"; a loop in the code ends after one weight).
        generator: On the CPU; where the draws come from.

    References:
        Manifold Mixup v1, algorithms 1 to 3.
    """

    def __init__(
        self, model: nn.Module, layers: list[str] | None, form: Form, generator: torch.Generator
    ) -> None:
        self.model, self.form, self.generator = model, form, generator
        self._mixup = None if layers is None else ManifoldMixup(model, layers, generator=generator)

    def supervised(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of mixed labelled images, lam ~ Beta(0.1, 0.1), or of the plain ones.

        Arguments:
            x: Shape (B, C, H, W).
            y: Class indices (B,).
        """
        if self._mixup is None:
            loss = F.cross_entropy(self.model(x), y)
        else:
            with self._pass(self._mixup, len(x), ALPHA_LABELLED) as m:
                loss = m.loss(F.cross_entropy, self.model(x), y)
        if self.form == "paper":
            loss = loss + STEM_L1 * next(self.model.parameters()).abs().sum()
        return loss

    def consistency(self, u: Tensor) -> Tensor:
        """Squared distance of what the network says of a mix and the mix of what it says, lam ~ Beta(2, 2).

        Arguments:
            u: Images without labels, (B, C, H, W).
        """
        assert self._mixup is not None, "nothing is mixed"
        with torch.no_grad():
            self.model.train(self.form == "paper")
            target = self._says(u)
        self.model.train()
        with self._pass(self._mixup, len(u), ALPHA_UNLABELLED) as m:
            apart = (self._says(u) - m.target(target)).square()
        return apart.mean() if self.form == "paper" else apart.sum(1).mean()

    def _says(self, u: Tensor) -> Tensor:
        return self.model(u) if self.form == "paper" else self.model(u).softmax(1)

    def _pass(self, mixup: ManifoldMixup, batch: int, alpha: float) -> MixedPass:
        """A forward pass of its own alpha: a model takes one ManifoldMixup, and this one has two."""
        k = int(torch.randint(len(mixup.layers), (), generator=self.generator))
        mix = Mixup(k=2, alpha=alpha, per="batch")(torch.empty(batch), self.generator)
        return MixedPass(mixup, k, mix)


def ramp(done: float) -> float:
    """exp(-5 (1 - s)^2), s from 0 to 1 over the first 0.4 of the training: from 0.0067 to 1.

    Arguments:
        done: Share of the updates that were made, in [0, 1).

    References:
        Tarvainen and Valpola, "Mean teachers are better role models", 2017; Manifold Mixup v1, appendix C.
    """
    return math.exp(-5 * (1 - min(1.0, done / RAMP)) ** 2)
