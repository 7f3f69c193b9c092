"""AMR with classes: a learned mask recombines two codes so that the mix has the wanted attributes."""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.data.split import UNLABELLED
from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.mixing import Mix, Mixer, Mixup
from latentmix.networks import Network
from latentmix.networks.classifying import ClassifyingCritic
from latentmix.networks.conv import Conv
from latentmix.networks.mlp import perceptron

TEMPERATURE = 2 / 3  # temperature of the relaxed mask (Maddison et al., 2017)


class AMRClasses(AutoencoderMethod):
    """AMR plus mixes m h_1 + (1 - m) h_2, m ~ Bernoulli(embed(y)), that should be real and have attributes y.

    Equation 7 adds the following to AMR's losses (equation 3), with x_y = g(m h_1 + (1 - m) h_2) and y
    between y_1 and y_2:

    min_F l(D(x_y), 1) + c l(p(x_y), y),  min_D l(D(x_y), 0) + l(p(x), y_x)

    where p is a classifier on the critic's features, trained on real images only. The mask has one entry per
    unit or feature map. `embed` is a player of its own, with the autoencoder's loss.

    In the equation, `embed` sees y alone. It then cannot know which parent has which attribute: exchanging
    the parents exchanges m and 1 - m, so that any answer is wrong as often as it is right. With `parents`, it
    sees (y, y_1, y_2).

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe; one-hot class labels are used as attributes if
            the data have none.
        num_attributes: Number of binary attributes.
        mixer: AMR's own mixing function; the mixes with attributes use its first two parents.
        network: The architecture.
        lamb: Weight of the reconstruction, the paper's lambda.
        c: Weight of the classification loss of the mixes; that of real images has weight 1.
        targets: How y is drawn: "convex", a y_1 + (1 - a) y_2 with a ~ Uniform(0, 1) for each mix (the
            paper), or "crossover", each attribute from either parent with probability 1/2 (the published
            code).
        mask: "sampled" with a straight-through gradient (the paper), "relaxed" to a binary concrete variable,
            or "soft", the probabilities themselves (the published code).
        parents: Whether the embedding also sees the attributes of the parents.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    Raises:
        ValueError: Data with neither attributes nor labels; from `begin`, images without a label.

    References:
        AMR, section 2.2, equation 7 and figures 4 and 5.
    """

    name = "amr_classes"
    label = "AMR (classes)"
    capturable = True
    companions: ClassVar = {"embed": "autoencoder"}  # one optimiser in the published code

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        num_attributes: int | None = None,
        *,
        mixer: Mixer = Mixup(),  # noqa: B008, a frozen value
        network: Network = Conv(),  # noqa: B008, a frozen value
        lamb: float = 10.0,
        c: float = 1.0,
        targets: Literal["convex", "crossover"] = "convex",
        mask: Literal["sampled", "relaxed", "soft"] = "sampled",
        parents: bool = False,
        reconstruction: Reconstruction = "l1",
    ) -> None:
        wanted = num_attributes or num_classes
        if not wanted:
            raise ValueError(
                "method amr_classes needs data with attributes (celeba) or labels, and these have none; "
                "amr, ae_gan and acai need neither"
            )
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        units = self.autoencoder.code_shape[0]
        self.critic = ClassifyingCritic(network.critic(shape), wanted, shape)
        self.embed = perceptron(3 * wanted if parents else wanted, units, units, units)
        self.mixer, self.lamb, self.c = mixer, lamb, c
        self.targets, self.mask, self.parents = targets, mask, parents
        self.wanted, self.from_labels = wanted, not num_attributes

    def realism(self, x: Tensor) -> Tensor:
        return self.critic.adversary(x).sigmoid()

    def begin(self, images: Tensor, labels: Tensor | None) -> None:
        if self.from_labels and labels is not None and (labels == UNLABELLED).any():
            raise ValueError(
                "method amr_classes needs the label of every image; amr_labels takes unlabelled ones too"
            )

    def losses(self, batch: Batch) -> Losses:
        y = self._attributes(batch)
        h = self.encode(batch.x)
        mix = self.mixer(h, batch.generator)
        partner = mix.partners[1]
        y_mix = self._target(y, y[partner], batch.generator)
        m = self._draw(self.probabilities(y_mix, y, y[partner]), batch.generator)
        h_class = Mix(mix.partners[:2], torch.stack([m, 1 - m]))(h)

        x_hat, x_mix, x_class = self.decode_each(h, mix(h), h_class)
        error = self.reconstruction_error(x_hat, batch.x)
        game = duel(self.critic.adversary, batch.x, [x_hat, x_mix, x_class])
        consistent = F.binary_cross_entropy_with_logits(self.critic.classify(x_class), y_mix)
        classified = F.binary_cross_entropy_with_logits(self.critic.classify(batch.x), y)
        loss = self.lamb * error + sum(game.fool) + self.c * consistent
        losses = {"autoencoder": loss, "critic": game.judge + classified, "embed": loss}
        values = {
            "reconstruction": error,
            "fool_reconstruction": game.fool[0],
            "fool_mix": game.fool[1],
            "fool_class_mix": game.fool[2],
            "critic": game.judge,
            "class_mix": consistent,
            "class_real": classified,
        }
        return losses | self.probe_losses(h, batch), values

    def probabilities(self, y: Tensor, y1: Tensor | None = None, y2: Tensor | None = None) -> Tensor:
        """Return the probability that each unit is taken from the first parent.

        Arguments:
            y: Wanted attributes, shape (B, A), in [0, 1].
            y1, y2: Attributes of the parents, needed if the embedding sees them.

        Returns:
            Probabilities of shape (B, C), where C is the number of units or feature maps of a code.

        Raises:
            ValueError: The vectors have another length, or the parents' attributes are missing.
        """
        seen = [y, y1, y2] if self.parents else [y]
        for given in seen:
            if given is None:
                raise ValueError("this embedding sees the parents: their attributes y1 and y2 are needed")
            if given.ndim != 2 or given.shape[1] != self.wanted:
                raise ValueError(
                    f"attributes have {self.wanted} columns here, got shape {tuple(given.shape)}"
                )
        return torch.sigmoid(self.embed(torch.cat([g for g in seen if g is not None], 1)))

    def mix_to(
        self,
        h1: Tensor,
        h2: Tensor,
        y: Tensor,
        y1: Tensor | None = None,
        y2: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mix codes (B, ...) towards wanted attributes, each unit from its likelier parent or from a draw.

        Arguments:
            y, y1, y2: As for `probabilities`.
            generator: Draws the masks; if None, each unit comes from its likelier parent.
        """
        p = self.probabilities(y, y1, y2)
        m = (p > 0.5).to(h1) if generator is None else torch.bernoulli(p, generator=generator).to(h1)
        m = m.reshape(*m.shape, *[1] * (h1.ndim - 2))
        return m * h1 + (1 - m) * h2

    def _attributes(self, batch: Batch) -> Tensor:
        if self.from_labels and batch.y is not None:
            return F.one_hot(batch.y, self.wanted).to(batch.x.dtype)
        if batch.attributes is None:
            raise ValueError("method amr_classes got a batch without attributes or labels")
        return batch.attributes.to(batch.x.dtype)

    def _target(self, y1: Tensor, y2: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.targets == "convex":
            a = torch.rand(len(y1), 1, device=y1.device, dtype=y1.dtype, generator=generator)
        else:
            a = torch.empty_like(y1).bernoulli_(0.5, generator=generator)
        return a * y1 + (1 - a) * y2

    def _draw(self, p: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.mask == "soft":
            return p
        p = p.to(torch.promote_types(p.dtype, torch.float32))  # 1 - 1e-6 is 1 in bfloat16
        u = torch.rand(p.shape, device=p.device, dtype=p.dtype, generator=generator).clamp(1e-6, 1 - 1e-6)
        if self.mask == "relaxed":
            return torch.sigmoid((torch.logit(p, 1e-6) + torch.logit(u)) / TEMPERATURE)
        m = (u < p).to(p.dtype)
        return m + p - p.detach()


def reachable(y1: Tensor, y2: Tensor) -> Tensor:
    """List all attribute vectors that a pair can be recombined to: each column has either parent's value.

    Arguments:
        y1, y2: Binary attributes of the parents, shape (A,).

    Returns:
        Distinct rows in ascending order, shape (2^d, A), for parents that differ in d attributes.
    """
    choices = [sorted({int(a), int(b)}) for a, b in zip(y1.tolist(), y2.tolist())]
    return torch.tensor(list(itertools.product(*choices)), dtype=torch.float32, device=y1.device)
