"""The VQ-VAE, whose code is replaced by vectors of a learned codebook; a baseline of the ACAI paper."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple, cast

import torch
from pydantic import Field
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

    A codebook may die: vectors gather at a few codewords, the others are never nearest to one again, and all
    images decode to one. So a codeword that was nearest to no vector for `revive` steps moves to a vector of
    the batch, each to another one (not published; 0 in `protocol=paper`). The log has `codewords`, how many
    were in use, and `perplexity`, exp of the entropy of their shares of the vectors: 1 if all are nearest to
    one codeword, the number of codewords if all are used alike. In training both are means over batches; in
    validation they are those of all images together.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe (on codes before quantisation).
        network: The architecture.
        vectors: Number of discrete latents of an image.
        codewords: Number of vectors in the codebook.
        beta: Weight of the commitment, a mean of squares.
        decay: Decay per step of the codebook's averages.
        revive: Steps without use after which a codeword moves to a vector of the batch; 0 for never.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    Raises:
        ValueError: There are fewer than one vector or two codewords, the decay lies outside [0, 1), `revive`
            is negative, or, in training, codewords are to be revived on several ranks.

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
        revive: Annotated[int, Field(ge=0, le=10**6)] = 100,
        reconstruction: Reconstruction = "l2",
    ) -> None:
        plain = network.autoencoder(shape)
        decoder = QuantisedDecoder(plain.decoder, plain.code_shape, vectors, codewords, decay, revive)
        model = EncoderDecoder(plain.encoder, decoder, plain.code_shape)
        super().__init__(model, reconstruction=reconstruction, num_classes=num_classes)
        self.beta = beta

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        decoder = cast(QuantisedDecoder, self.autoencoder.decoder)
        code, vectors, index, commitment = decoder.quantise(h)
        if self.training and h.requires_grad:
            decoder.follow(vectors, index, batch)
        x_hat = decoder.decoder(code)
        x_hat = torch.tanh(x_hat / 2) if self.reconstruction in ("bce", "bce_sum") else x_hat
        error = self.reconstruction_error(x_hat, batch.x)
        losses = {"autoencoder": error + self.beta * commitment}
        values = {"reconstruction": error, "commitment": commitment} | usage(decoder.shares(index))
        return losses | self.probe_losses(h, batch), values

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Measure the reconstruction, the online probe, and each codeword's share of the vectors."""
        decoder = cast(QuantisedDecoder, self.autoencoder.decoder)
        shares = decoder.shares(decoder.quantise(self.encode(batch.x)).nearest)
        return super().validate(batch) | {"shares": shares[None]}

    def summarise(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Count the codewords in use, and take the perplexity of their shares, over all images."""
        return means | usage(means.pop("shares"))


def usage(shares: Tensor) -> dict[str, Tensor]:
    """Count the codewords in use, and take the perplexity of the shares of all codewords, (codewords,)."""
    return {"codewords": (shares > 0).sum(), "perplexity": torch.special.entr(shares).sum().exp()}


class Quantised(NamedTuple):
    """What the bottleneck makes of codes.

    Arguments:
        code: Codes of the same shape (B, ...).
        vectors: What was replaced, (B * vectors, H), without gradient.
        nearest: Index of each vector's codeword, (B * vectors,).
        commitment: Mean square distance of the vectors from their codewords, a scalar.
    """

    code: Tensor
    vectors: Tensor
    nearest: Tensor
    commitment: Tensor


class QuantisedDecoder(nn.Module):
    """A decoder whose input code first passes through a bottleneck of a few codewords.

    Arguments:
        decoder: Maps codes to images.
        code_shape: Shape of one code.
        vectors, codewords, decay, revive: As for `VQVAE`.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    idle: Tensor

    def __init__(
        self,
        decoder: nn.Module,
        code_shape: tuple[int, ...],
        vectors: int,
        codewords: int,
        decay: float,
        revive: int = 0,
    ) -> None:
        if vectors < 1 or codewords < 2:
            raise ValueError(
                f"vectors={vectors}, codewords={codewords}: at least 1 vector and 2 codewords are needed"
            )
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must lie in 0..1, below 1")
        if revive < 0:
            raise ValueError(f"revive={revive}: must be a number of steps, 0 for never")
        super().__init__()
        units = math.prod(code_shape)
        self.split = nn.Sequential(nn.Flatten(), nn.Linear(units, vectors * units))
        self.join = nn.Sequential(
            nn.ReLU(), perceptron(vectors * units, 512, units), nn.Unflatten(1, code_shape)
        )
        self.decoder, self.decay, self.revive = decoder, decay, revive
        codebook = torch.randn(codewords, units) / math.sqrt(units)
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.ones(codewords))
        self.register_buffer("sums", codebook.clone())
        self.register_buffer("idle", torch.zeros(codewords, dtype=torch.int32))  # steps without use

    def forward(self, h: Tensor) -> Tensor:
        """Map codes (B, ...) to images."""
        return self.decoder(self.quantise(h).code)

    def quantise(self, h: Tensor) -> Quantised:
        """Pass codes (B, ...) through the bottleneck."""
        u = self.split(h).unflatten(1, (-1, self.codebook.shape[1]))
        flat = u.flatten(0, 1)
        index = (self.codebook.square().sum(1) - 2 * flat @ self.codebook.T).argmin(1)
        e = self.codebook[index].reshape(u.shape)
        code = self.join((u + (e - u).detach()).flatten(1))
        return Quantised(code, flat.detach(), index, F.mse_loss(u, e))

    @torch.no_grad()
    def shares(self, index: Tensor) -> Tensor:
        """Return the share of each codeword among indices (N,), shape (codewords,), float64."""
        return torch.bincount(index, minlength=len(self.codebook)).double() / len(index)

    @torch.no_grad()
    def follow(self, vectors: Tensor, index: Tensor, batch: Batch) -> None:
        """Move codewords towards the mean of the vectors (N, H) nearest to them, and revive the dead ones."""
        with torch.autocast(vectors.device.type, enabled=False):
            # A product with one-hot rows instead of a scattered addition, so that sums always have the same
            # order.
            mine = F.one_hot(index, len(self.codebook)).to(self.sums.dtype)
            used = batch.total(mine.sum(0))
            self.counts.lerp_(used, 1 - self.decay)
            self.sums.lerp_(batch.total(mine.T @ vectors.to(self.sums.dtype)), 1 - self.decay)
            if self.revive:
                self._revive(vectors, used, batch)
            total = self.counts.sum()
            smooth = (self.counts + EPSILON) / (total + len(self.counts) * EPSILON) * total
            self.codebook.copy_(self.sums / smooth[:, None])

    def _revive(self, vectors: Tensor, used: Tensor, batch: Batch) -> None:
        """Move the codewords that are idle for longest, each to another vector, while there are vectors."""
        if batch.ranks > 1:
            raise ValueError("method.revive draws from the vectors of one rank; set method.revive=0")
        self.idle.add_(1).masked_fill_(used > 0, 0)
        longest, dead = self.idle.topk(min(len(vectors), len(self.idle)))
        dead = dead[longest >= self.revive]
        source = batch.host if batch.host is not None else batch.generator
        device = None if source is None else source.device
        drawn = torch.randperm(len(vectors), generator=source, device=device)[: len(dead)]
        self.sums[dead] = vectors[drawn.to(vectors.device)].to(self.sums.dtype)
        self.counts[dead] = 1
        self.idle[dead] = 0

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state.setdefault(prefix + "idle", torch.zeros_like(self.idle))  # checkpoints of 0.2.0 have none
        super()._load_from_state_dict(state, prefix, *rest)
