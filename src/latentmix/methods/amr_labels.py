"""AMR with labels: a classifier on the codes also trains the encoder."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data.split import UNLABELLED
from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.methods.gan_losses import at_least_float32
from latentmix.mixing import Mixer, Mixup
from latentmix.networks import Network
from latentmix.networks.classifying import ClassifyingCritic
from latentmix.networks.conv import Conv
from latentmix.networks.mlp import perceptron


class AMRLabels(AutoencoderMethod):
    """AMR plus c E[l(k(f(x)), y)] over the labelled images, which trains both autoencoder and classifier k.

    Labels are not mixed: the critic only tells mixes from real images. Images whose label is -1 train only
    the reconstruction and the adversarial terms, which makes the method semi-supervised.

    With c_mix > 0, mixes shall show a class of their parents, P, as p reads it, a classifier on the critic's
    features that learns from real images only (as in AMR, equation 7):

    min_F c_mix E[-log sum_{c in P} p_c(g(Mix(h)))],  min_D E[l(p(x), y)]

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes.
        mixer: The mixing function.
        network: The architecture.
        lamb: Weight of the reconstruction, the paper's lambda.
        c: Weight of the classification.
        c_mix: Weight of the classes of mixes; 0 for the critic without a classifier.
        depth: Number of hidden layers of the classifier, each of 256 units; 0 for a linear classifier.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    Raises:
        ValueError: The data have no labels; raised by `begin`, labels outside -1..num_classes - 1.

    References:
        AMR, section 5 (discussion), where this is proposed but not tried.
    """

    name = "amr_labels"
    label = "AMR (labels)"
    capturable = True
    companions: ClassVar = {"classifier": "autoencoder"}

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None,
        *,
        mixer: Mixer = Mixup(),  # noqa: B008, a frozen value
        network: Network = Conv(),  # noqa: B008, a frozen value
        lamb: float = 10.0,
        c: float = 1.0,
        c_mix: float = 0.0,
        depth: int = 0,
        reconstruction: Reconstruction = "l1",
    ) -> None:
        if not num_classes:
            raise ValueError(
                "method amr_labels needs data with labels, and these have none; amr and acai need none"
            )
        if depth < 0:
            raise ValueError(f"depth={depth}: hidden layers are 0 or more")
        if not 0 <= c_mix < math.inf:
            raise ValueError(f"c_mix={c_mix}: a weight is a finite number, 0 or more")
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.critic = network.critic(shape)
        if c_mix:
            self.critic = ClassifyingCritic(self.critic, num_classes, shape)
        units = math.prod(self.autoencoder.code_shape)
        self.classifier = nn.Sequential(nn.Flatten(), perceptron(units, *[256] * depth, num_classes))
        self.mixer, self.lamb, self.c, self.c_mix, self.num_classes = mixer, lamb, c, c_mix, num_classes

    def realism(self, x: Tensor) -> Tensor:
        return self.critic(x).sigmoid()

    def begin(self, images: Tensor, labels: Tensor | None) -> None:
        if labels is not None and not ((labels >= UNLABELLED) & (labels < self.num_classes)).all():
            given = f"{int(labels.min())} to {int(labels.max())}"
            raise ValueError(f"labels go from 0 to {self.num_classes - 1}, or are -1 for none; got {given}")

    def losses(self, batch: Batch) -> Losses:
        y = batch.y
        if y is None:
            raise ValueError(
                "method amr_labels got a batch without labels; unlabelled images have the label -1"
            )
        h = self.encode(batch.x)
        mix = self.mixer(h, batch.generator)
        x_hat, x_mix = self.decode_each(h, mix(h))
        error = self.reconstruction_error(x_hat, batch.x)
        adversary = self.critic.adversary if isinstance(self.critic, ClassifyingCritic) else self.critic
        game = duel(adversary, batch.x, [x_hat, x_mix])
        labelled = (y != UNLABELLED).sum()
        logits = self.classifier(h)
        cross = F.cross_entropy(logits, y, ignore_index=UNLABELLED, reduction="sum")
        classified = batch.mean_of(cross, labelled)
        loss = self.lamb * error + game.fool[0] + game.fool[1] + self.c * classified
        losses = {"autoencoder": loss, "critic": game.judge, "classifier": classified}
        values = {
            "reconstruction": error,
            "fool_reconstruction": game.fool[0],
            "fool_mix": game.fool[1],
            "critic": game.judge,
            "classification": classified,
            "accuracy": (logits.argmax(1) == y).sum() / labelled.clamp_min(1),
        }
        if self.c_mix:
            assert isinstance(self.critic, ClassifyingCritic)
            logits = at_least_float32(self.critic.classify(torch.cat([batch.x, x_mix])))
            read = F.cross_entropy(logits[: len(y)], y, ignore_index=UNLABELLED, reduction="sum")
            values["class_real"] = batch.mean_of(read, labelled)
            values["class_mix"] = self._unread(logits[len(y) :], y[mix.partners], batch)
            losses["critic"] = losses["critic"] + values["class_real"]
            losses["autoencoder"] = losses["autoencoder"] + self.c_mix * values["class_mix"]
        return losses | self.probe_losses(h, batch), values

    def _unread(self, logits: Tensor, parents: Tensor, batch: Batch) -> Tensor:
        """-log of the probability that each mix shows a class of its parents, whose labels are (K, B).

        A mix counts only if all its parents have labels.
        """
        known = (parents != UNLABELLED).all(0)
        theirs = F.one_hot(parents.clamp_min(0), self.num_classes).amax(0).bool()
        among = logits.masked_fill(~theirs, -torch.inf).logsumexp(1)
        lost = (logits.logsumexp(1) - among).masked_fill(~known, 0)
        return batch.mean_of(lost.sum(), known.sum())
