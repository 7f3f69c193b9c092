"""The base of all autoencoders here: one player that encodes and decodes, and an online probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from latentmix.data.split import UNLABELLED
from latentmix.methods import Batch, Method
from latentmix.networks import EncoderDecoder

Reconstruction = Literal["l1", "l2", "bce", "bce_sum"]


class AutoencoderMethod(Method):
    """An autoencoder and the parts that train it; its roles are `Encodes` and `Decodes`.

    Arguments:
        autoencoder: The player that encodes and decodes.
        reconstruction: The error that `reconstruction_error` computes; with "bce" and "bce_sum", the
            decoder's outputs are logits that `decode` maps to [-1, 1].
        num_classes: Number of classes; if given, an online linear probe is added as a player of its own.
    """

    def __init__(
        self,
        autoencoder: EncoderDecoder,
        *,
        reconstruction: Reconstruction = "l1",
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.code_shape = autoencoder.code_shape
        self.reconstruction = reconstruction
        self.probe: nn.Module | None = None
        if num_classes is not None:
            units = math.prod(autoencoder.code_shape)
            with torch.random.fork_rng(devices=[]):  # a probe must not change the others' initialisation
                self.probe = nn.Sequential(nn.Flatten(), nn.Linear(units, num_classes))

    @property
    def best(self) -> str:  # type: ignore[override]
        """The online probe's accuracy if there are labels, as in the papers; else the reconstruction."""
        return "-reconstruction" if self.probe is None else "probe_accuracy"

    def encode(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to codes (B, ...), deterministically: h = f(x)."""
        return self.autoencoder.encode(x)

    def decode(self, h: Tensor) -> Tensor:
        """Map codes (B, ...) to images (B, C, H, W), approximately in [-1, 1]: x = g(h)."""
        x = self.autoencoder.decode(h)
        # tanh(x / 2) = 2 sigmoid(x) - 1
        return torch.tanh(x / 2) if self.reconstruction in ("bce", "bce_sum") else x

    def decode_each(self, *codes: Tensor) -> Sequence[Tensor]:
        """Decode sets of codes, each (B, ...), to images (B, C, H, W) each, in one pass.

        Every call of a layer has its price. With batch norm, which would mix their statistics, the sets are
        decoded one after the other.
        """
        if any(isinstance(part, _BatchNorm) for part in self.autoencoder.decoder.modules()):
            return [self.decode(h) for h in codes]
        return self.decode(torch.cat(codes)).split([len(h) for h in codes])

    def realism(self, x: Tensor) -> Tensor | None:
        """Probability that images (B, C, H, W) are real according to the method's own critic, shape (B,).

        Returns None if the method has no critic that judges whether images are real; a critic of codes, or
        one that estimates how mixed an image is, does not.
        """
        return None

    def reconstruction_error(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Mean over all elements of |x_hat - x| (l1), its square (l2) or cross-entropy on [0, 1] (bce).

        For "bce_sum" the cross-entropy is summed over each image and averaged over the batch.
        """
        if self.reconstruction == "l1":
            return F.l1_loss(x_hat, x)
        if self.reconstruction == "l2":
            return F.mse_loss(x_hat, x)
        # F.binary_cross_entropy is not used because autocast refuses it. At a pixel of exactly 0 or 1 the
        # logarithm is infinite and its gradient NaN; a ten-millionth away both are large and finite.
        wide = torch.promote_types(x_hat.dtype, torch.float32)
        p, t = ((x_hat.to(wide) + 1) / 2).clamp(1e-7, 1 - 1e-7), (x.to(wide) + 1) / 2
        error = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
        return error * x[0].numel() if self.reconstruction == "bce_sum" else error

    def probe_losses(self, h: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the linear probe on detached codes, as {"probe": loss}; empty without labels.

        Images with the label -1 do not count; a batch that has only such images costs 0. AMR, section 4.1.
        """
        if self.probe is None or batch.y is None:
            return {}
        cross = F.cross_entropy(self.probe(h.detach()), batch.y, ignore_index=UNLABELLED, reduction="sum")
        return {"probe": batch.mean_of(cross, (batch.y != UNLABELLED).sum())}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Measure the reconstruction error, and whether the online probe is right about each image."""
        h = self.encode(batch.x)
        values = {"reconstruction": self.reconstruction_error(self.decode(h), batch.x)}
        if self.probe is not None and batch.y is not None:
            values["probe_accuracy"] = (self.probe(h).argmax(1) == batch.y).float()
        return values
