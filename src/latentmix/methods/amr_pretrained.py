"""AMR on a trained autoencoder: a mixing function is learned, and the autoencoder stays or is tuned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.methods import Batch, Losses, Method, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.learned_mixing import LearnedMixing
from latentmix.methods.portions import LARGE, in_portions, recomputed
from latentmix.methods.roles import Autoencodes, require
from latentmix.mixing import Mix, draw_partners
from latentmix.networks import Network
from latentmix.networks.conv import Conv

Tuned = Literal["nothing", "decoder", "everything"]
JUDGED = 8  # large images that the critic sees at a time


class AMRPretrained(Method):
    """AMR's game with the encoder f and decoder g of the run that `start_from` names.

    min_k l(D(g(h_mix)), 1) + balance E[(mean_c m_c - b)^2],  h_mix = m h_1 + (1 - m) h_2
    min_D l(D(x), 1) + l(D(g(h)), 0) + l(D(g(h_mix)), 0),  h = f(x), l the cross-entropy on logits

    The mixing function m = k(h_1, h_2, b, n) is that of `amr_learned`. What is tuned of f and g descends
    AMR's own loss, lambda |x - g(h)| + l(D(g(h)), 1) + l(D(g(h_mix)), 1). Norms keep their
    statistics.

    Arguments:
        shape: Shape of an image, (C, H, W).
        start: The trained autoencoder, imported or of any method that encodes and decodes.
        network: The architecture of the critic.
        tune: What is trained besides the mixing function: "nothing", the "decoder", or "everything".
        lamb: Weight of the reconstruction, the paper's lambda.
        balance: Weight of the term on the share.
        width: Units in each of the two hidden layers of the mixing function.

    Raises:
        ValueError: There is no autoencoder to start from.

    References:
        AMR, equation 3 and section 1 ("a deep neural network which learns the mixing operation").
    """

    name = "amr_pretrained"
    label = "AMR (pretrained)"
    lr = 1e-4
    batch_size = 16
    companions: ClassVar = {"mixing": "autoencoder"}

    def __init__(
        self,
        shape: Shape,
        start: Method | None = None,
        *,
        network: Network = Conv(),  # noqa: B008, a frozen value
        tune: Tuned = "nothing",
        lamb: float = 10.0,
        balance: float = 10.0,
        width: int = 128,
    ) -> None:
        if start is None:
            raise ValueError(
                "method amr_pretrained needs start_from=RUN, the folder of a run of an autoencoder"
            )
        super().__init__()
        given = require(start, Autoencodes, "method amr_pretrained")
        self.label = f"AMR (pretrained), {start.label}"
        self.autoencoder = start.requires_grad_(False).eval()
        self.code_shape = tuple(given.code_shape)
        self.critic = network.critic(shape)
        self.mixing = LearnedMixing(self.code_shape[0], width)
        self.tune, self.lamb, self.balance = tune, lamb, balance
        self.apart = shape[1] * shape[2] >= LARGE  # decoded one at a time, and once more for the gradient
        if tune != "nothing":
            for parameter in _parameters(start, self.code_shape, shape, encoder=tune == "everything"):
                parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> AMRPretrained:
        """Set the mode of critic and mixing function; the autoencoder stays in evaluation mode."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def begin(self, images: Tensor, labels: Tensor | None) -> None:
        """Check that the mixing function can be trained through the decoder.

        Raises:
            ValueError: The decoder gives no gradients.
        """
        h = torch.zeros(1, *self.code_shape, device=images.device, requires_grad=True)
        if not self.decode(h).requires_grad:
            raise ValueError(
                f"{self.label}: its decoder gives no gradients (ONNX files do not), so no mixing function "
                f"can be trained through it"
            )

    def encode(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to codes (B, *code_shape)."""
        return self.autoencoder.encode(x)  # type: ignore[operator]

    def decode(self, h: Tensor) -> Tensor:
        """Map codes (B, *code_shape) to images (B, C, H, W), about in [-1, 1]."""
        return self.autoencoder.decode(h)  # type: ignore[operator]

    def mix(self, h1: Tensor, h2: Tensor, share: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Mix codes (B, ...) by the learned function; `share` (B,) is the wanted share of the first."""
        m = self.mixing(h1, h2, share, generator)
        m = m.reshape(*m.shape, *[1] * (h1.ndim - 2))
        return m * h1 + (1 - m) * h2

    def realism(self, x: Tensor) -> Tensor:
        """Probability that images (B, C, H, W) are real according to the critic, shape (B,)."""
        return self.critic(x).sigmoid()

    def losses(self, batch: Batch) -> Losses:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tune == "everything"):
            h = self._each(self.autoencoder.encode, batch.x)  # type: ignore[arg-type]
        partners = draw_partners(len(h), 2, self_pairs=True, device=h.device, generator=batch.generator)
        share = torch.rand(len(h), device=h.device, dtype=h.dtype, generator=batch.generator)
        m = self.mixing(h, h[partners[1]], share, batch.generator)
        h_mix = Mix(partners, torch.stack([m, 1 - m]))(h)

        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tune != "nothing"):
            x_hat = self._each(self.decode, h)
        x_mix = self._each(self.decode, h_mix)
        error = F.l1_loss(x_hat, batch.x)
        game = duel(self.critic, batch.x, [x_hat, x_mix], at_once=JUDGED if self.apart else None)
        unbalance = (m.mean(1) - share).square().mean()
        losses = {"critic": game.judge, "mixing": game.fool[1] + self.balance * unbalance}
        if self.tune != "nothing":
            losses["autoencoder"] = self.lamb * error + game.fool[0] + game.fool[1]
        values = {
            "reconstruction": error,
            "fool_reconstruction": game.fool[0],
            "fool_mix": game.fool[1],
            "critic": game.judge,
            "unbalance": unbalance,
        }
        return losses, values

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error of each reconstruction."""
        x_hat = in_portions(self, "decode", in_portions(self, "encode", batch.x))
        return {"reconstruction": (x_hat - batch.x).abs().flatten(1).mean(1)}

    def _each(self, half: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Encode or decode; large images one at a time, so that memory holds the graph of one of them."""
        return recomputed(half, x, 1 if self.apart else len(x))


def _parameters(
    start: Method, code_shape: tuple[int, ...], shape: Shape, *, encoder: bool
) -> Iterator[nn.Parameter]:
    """The decoder's parameters, and the encoder's too: those that a decoded code, or image, depends on."""
    start.requires_grad_(True)
    every = list(start.parameters())
    if not every:
        raise ValueError(f"{start.label} has no weights that could be tuned; choose method.tune=nothing")
    device = every[0].device
    if encoder:
        x = torch.zeros(2, *shape, device=device)
        y = start.decode(start.encode(x))  # type: ignore[operator]
    else:
        y = start.decode(torch.zeros(2, *code_shape, device=device))  # type: ignore[operator]
    found = torch.autograd.grad(y.sum(), every, allow_unused=True)
    start.requires_grad_(False)
    return (p for p, gradient in zip(every, found) if gradient is not None)
