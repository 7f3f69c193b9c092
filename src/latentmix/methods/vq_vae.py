"""The VQ-VAE, whose code is replaced by vectors of a learned codebook; a baseline of the ACAI paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.networks import AutoencodingNetwork, EncoderDecoder
from latentmix.networks.acai import PlainConv
from latentmix.networks.mlp import perceptron

EPSILON = 1e-5  # keeps the mean of a codeword finite if no vector is nearest to it


class VQVAE(AutoencoderMethod):
    """min_F ||x - g(q(f(x)))||^2 + beta ||u - sg(e)||^2; u are vectors of a code, e their nearest codewords.

    A linear layer maps the code, of size H, to `vectors` vectors u of size H. Each is replaced by the nearest
    vector of one shared codebook (with a straight-through gradient), and a layer of 512 units maps them back
    to a code for the decoder. On batches on which the autoencoder steps, each codeword moves without gradient
    towards the mean of the vectors nearest to it, by exponential averaging.

    `encode` returns the code before quantisation and `decode` quantises it, so codes are mixed before
    quantisation, as published.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe (on codes before quantisation).
        network: The architecture.
        vectors: Number of discrete latents of an image.
        codewords: Number of vectors in the codebook.
        beta: Weight of the commitment, a mean of squares.
        decay: Decay per step of the codebook's averages.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    Raises:
        ValueError: There are fewer than one vector or two codewords, or the decay lies outside [0, 1).

    References:
        van den Oord et al., "Neural discrete representation learning", NeurIPS 2017; the code of Berthelot et
        al., ICLR 2019.
    """

    name = "vq_vae"
    label = "VQ-VAE"
    best = "-reconstruction"
    betas = (0.9, 0.999)
    weight_decay = 0.0

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: AutoencodingNetwork = PlainConv(),  # noqa: B008, a frozen value
        vectors: int = 10,
        codewords: int = 2**14,
        beta: float = 10.0,
        decay: float = 0.999,
        reconstruction: Reconstruction = "l2",
    ) -> None:
        plain = network.autoencoder(shape)
        decoder = QuantisedDecoder(plain.decoder, plain.code_shape, vectors, codewords, decay)
        model = EncoderDecoder(plain.encoder, decoder, plain.code_shape)
        super().__init__(model, reconstruction=reconstruction, num_classes=num_classes)
        self.beta = beta

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        decoder = cast(QuantisedDecoder, self.autoencoder.decoder)
        q, commitment = decoder.quantise(h, batch.total if self.training and h.requires_grad else None)
        x_hat = decoder.decoder(q)
        x_hat = torch.tanh(x_hat / 2) if self.reconstruction in ("bce", "bce_sum") else x_hat
        error = self.reconstruction_error(x_hat, batch.x)
        losses = {"autoencoder": error + self.beta * commitment}
        values = {"reconstruction": error, "commitment": commitment}
        return losses | self.probe_losses(h, batch), values


class QuantisedDecoder(nn.Module):
    """A decoder whose input code first passes through a bottleneck of a few codewords.

    Arguments:
        decoder: Maps codes to images.
        code_shape: Shape of one code.
        vectors, codewords, decay: As for `VQVAE`.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, decoder: nn.Module, code_shape: tuple[int, ...], vectors: int, codewords: int, decay: float
    ) -> None:
        if vectors < 1 or codewords < 2:
            raise ValueError(f"vectors={vectors}, codewords={codewords}: it takes 1 vector and 2 codewords")
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must lie in 0..1, below 1")
        super().__init__()
        units = math.prod(code_shape)
        self.split = nn.Sequential(nn.Flatten(), nn.Linear(units, vectors * units))
        self.join = nn.Sequential(
            nn.ReLU(), perceptron(vectors * units, 512, units), nn.Unflatten(1, code_shape)
        )
        self.decoder, self.decay = decoder, decay
        codebook = torch.randn(codewords, units) / math.sqrt(units)
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.ones(codewords))
        self.register_buffer("sums", codebook.clone())

    def forward(self, h: Tensor) -> Tensor:
        """Map codes (B, ...) to images."""
        return self.decoder(self.quantise(h)[0])

    def quantise(self, h: Tensor, total: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Pass codes through the bottleneck; return codes of the same shape and the commitment, a scalar.

        Arguments:
            total: Sums a tensor over all ranks. If it is given, the codewords move towards their vectors.
        """
        u = self.split(h).unflatten(1, (-1, self.codebook.shape[1]))
        flat = u.flatten(0, 1)
        index = (self.codebook.square().sum(1) - 2 * flat @ self.codebook.T).argmin(1)
        e = self.codebook[index].reshape(u.shape)
        if total is not None:
            self._follow(flat.detach(), index, total)
        return self.join((u + (e - u).detach()).flatten(1)), F.mse_loss(u, e)

    @torch.no_grad()
    def _follow(self, u: Tensor, index: Tensor, total: Callable[[Tensor], Tensor]) -> None:
        with torch.autocast(u.device.type, enabled=False):
            # A product with one-hot rows instead of a scattered addition, so that sums always have the same
            # order.
            mine = F.one_hot(index, len(self.codebook)).to(self.sums.dtype)
            self.counts.lerp_(total(mine.sum(0)), 1 - self.decay)
            self.sums.lerp_(total(mine.T @ u.to(self.sums.dtype)), 1 - self.decay)
            vectors = self.counts.sum()
            smooth = (self.counts + EPSILON) / (vectors + len(self.counts) * EPSILON) * vectors
            self.codebook.copy_(self.sums / smooth[:, None])
