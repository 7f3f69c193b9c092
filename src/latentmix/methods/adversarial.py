"""The adversarial game between an autoencoder and a critic, in which the critic sees each fake only once.

Both players' losses are computed with the same weights, so one forward pass of the critic serves both. Where
the critic treats samples independently, one backward pass serves both too. Both losses are functions of the
same logit s,

    fool  = softplus(-s),  d fool / ds  = -sigmoid(-s),
    judge = softplus(+s),  d judge / ds = +sigmoid(+s),

so for each sample the gradient of `fool` at a fake image is the gradient of `judge` times -exp(-s). Where s
is far below zero, the gradient of `judge` underflows and the factor overflows; both are then taken at
s = -60, where sigmoid(s) is 1e-26.

A critic of AMR's published code (`latentmix.networks.PublishedCritic`) sees each set of images in passes of
its own, in the published order, because each pass advances its spectral norm.

References:
    Shen et al., "Training Generative Adversarial Networks in One Stage", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from latentmix.methods.gan_losses import at_least_float32
from latentmix.networks import PublishedCritic, forms, treats_images_alone
from latentmix.networks.spectral_norm import advance

LOWEST = -60.0  # lowest logit of a fake in one pass: sigmoid(s) and exp(-s) are well within float32's range


class Duel(NamedTuple):
    """The losses of one adversarial game; l is the binary cross-entropy on logits, averaged over the batch.

    Arguments:
        fool: l(D(fake), 1) for each set of fakes, which the autoencoder minimises (non-saturating).
        judge: l(D(real), 1) + sum of l(D(fake), 0), which the critic minimises; a sum, as published.
    """

    fool: list[Tensor]
    judge: Tensor


def duel(
    critic: nn.Module,
    real: Tensor,
    fakes: Sequence[Tensor],
    *,
    one_pass: bool | None = None,
    discarded: int = 0,
    at_once: int | None = None,
) -> Duel:
    """Show real images and fakes to the critic once, and return the loss of each player.

    Arguments:
        critic: Maps images (B, C, H, W) to logits (B,).
        real: Real images.
        fakes: Sets of decoded images, each (B', C, H, W).
        one_pass: Whether one backward pass through the critic serves both players. This is exact only if each
            logit depends on its own image alone. By default, one pass is used if the critic declares this
            (`latentmix.networks.Critic`) and both players step, outside of `torch.vmap`.
        discarded: Number of passes of a published critic whose outcome the published step discards.
        at_once: With one pass, the number of images that the critic sees at a time, for images so large that
            its graph of all of them would fill the memory; by default all.

    Returns:
        Losses for `torch.autograd.grad` with respect to each player's own parameters. With one pass, `judge`
        and `fool` carry gradients that have already been computed, for the critic's parameters and the fakes.
    """
    if isinstance(critic, PublishedCritic):
        s_fool, s_real, s_fakes = in_passes(critic, real, fakes, fakes, discarded)
        return Duel([F.softplus(-s).mean() for s in s_fool], _judge(s_real, s_fakes))
    sizes = [len(real), *map(len, fakes)]
    images = torch.cat([real, *fakes])
    parameters = [p for p in critic.parameters() if p.requires_grad]
    both_step = bool(parameters) and any(x.requires_grad for x in fakes)
    if one_pass is None:
        one_pass = treats_images_alone(critic) and not forms.transformed()
    if not (one_pass and both_step and torch.is_grad_enabled()):
        s_real, *s_fakes = at_least_float32(critic(images)).split(sizes)
        fool = [F.softplus(-s).mean() for s in s_fakes]
        return Duel(fool, _judge(s_real, s_fakes))

    images = images.detach().requires_grad_()
    count = at_once or len(images)
    if count >= len(images):
        s = at_least_float32(critic(images))
    else:
        s, g_critic, g_images = _in_portions(critic, parameters, images, sizes, count)
    s_real, *s_fakes = s.split(sizes)
    bounded = [_bounded(s) for s in s_fakes]
    judge = _judge(s_real, bounded)
    if count >= len(images):
        *g_critic, g_images = torch.autograd.grad(judge, [*parameters, images])
    _, *g_fakes = g_images.split(sizes)
    ratios = [-torch.exp(-s.detach()) for s in bounded]
    fool = [
        _carry(F.softplus(-s.detach()).mean(), [x], [g * r.to(g.dtype).reshape(-1, *[1] * (g.ndim - 1))])
        for x, s, r, g in zip(fakes, s_fakes, ratios, g_fakes)
    ]
    return Duel(fool, _carry(judge.detach(), parameters, g_critic))


def _bounded(s: Tensor) -> Tensor:
    """The logit, at least `LOWEST`, with the gradient of the logit everywhere."""
    return s + (s.clamp_min(LOWEST) - s).detach()


def _in_portions(
    critic: nn.Module, parameters: Sequence[Tensor], images: Tensor, sizes: Sequence[int], count: int
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The logits of all images, and the gradients of the critic's loss at its parameters and at the images.

    The loss is a weighted sum over images, so its gradients are the sums of those of the portions. The
    weights of the critic are normalised once for all portions, as in one pass.

    Arguments:
        images: The real ones and then each set of fakes, whose numbers are `sizes`, (N, C, H, W) in all.
        count: Images of a portion.

    Returns:
        The logits (N,), the gradient at each parameter, and that at the images (N, C, H, W).
    """
    signs = torch.cat([images.new_full((n,), 1.0 if i else -1.0) / n for i, n in enumerate(sizes)])
    logits, of_images, sums = [], [], [torch.zeros_like(p) for p in parameters]
    with parametrize.cached():
        for rows in torch.arange(len(images), device=images.device).split(count):
            few = images[rows].detach().requires_grad_()
            s, sign = at_least_float32(critic(few)), signs[rows]
            s_bounded = torch.where(sign > 0, _bounded(s), s)
            judge = (sign.abs() * F.softplus(sign.sign() * s_bounded)).sum()
            # What normalises the weights is differentiated with each portion.
            *found, g = torch.autograd.grad(judge, [*parameters, few], retain_graph=True)
            logits.append(s.detach())
            of_images.append(g)
            sums = [total + part for total, part in zip(sums, found)]
    return torch.cat(logits), sums, torch.cat(of_images)


def in_passes(
    critic: nn.Module, real: Tensor, fakes: Sequence[Tensor], fooling: Sequence[Tensor], discarded: int = 0
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Judge sets of images one after the other, in the order of AMR's published step.

    Arguments:
        fooling: The fakes by which the autoencoder is judged, seen first; their logits carry its gradient.
        discarded: Number of passes after them whose outcome is discarded.

    Returns:
        Logits of `fooling`, of `real`, and of `fakes`; those of `fakes` carry no gradient to the autoencoder.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and any(x.requires_grad for x in fooling)):
        s_fool = [at_least_float32(critic(x)) for x in fooling]
    for _ in range(discarded):
        advance(critic)
    s_real = at_least_float32(critic(real))
    return s_fool, s_real, [at_least_float32(critic(x.detach())) for x in fakes]


def _judge(s_real: Tensor, s_fakes: list[Tensor]) -> Tensor:
    return torch.stack([F.softplus(-s_real).mean(), *(F.softplus(s).mean() for s in s_fakes)]).sum()


def _carry(value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return `value` as a tensor whose gradients with respect to the inputs are the given ones."""
    return _Carry.apply(value, gradients, *inputs)


class _Carry(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return None, None, *(upstream * g for g in ctx.gradients)
