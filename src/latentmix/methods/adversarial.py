"""The adversarial game between an autoencoder and a critic, each fake judged once.

With the weights unchanged between the two players' updates, one forward pass of the critic serves both
losses. Where the critic treats samples independently, one backward pass does too: both losses are functions
of the same logit s,

    fool  = softplus(-s),  d fool / ds  = -sigmoid(-s),
    judge = softplus(+s),  d judge / ds = +sigmoid(+s),

so the gradient of `fool` at a fake image is that of `judge` times -exp(-s), sample by sample. Far below
zero the one underflows and the other overflows; there both are taken at s = -60, where sigmoid(s) is 1e-26.

References:
    Shen et al., "Training Generative Adversarial Networks in One Stage", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks import treats_images_alone

LOWEST = -60.0  # logit of a fake in one pass: sigmoid(s) and exp(-s) are far inside float32


class Duel(NamedTuple):
    """The losses of one game, with l the binary cross-entropy on logits, averaged over the batch.

    Arguments:
        fool: One l(D(fake), 1) for each set of fakes: what the autoencoder minimises (non-saturating).
        judge: l(D(real), 1) + sum of l(D(fake), 0): what the critic minimises; a sum, as published.
    """

    fool: list[Tensor]
    judge: Tensor


def duel(critic: nn.Module, real: Tensor, fakes: Sequence[Tensor], *, one_pass: bool | None = None) -> Duel:
    """Let the critic see real images and fakes once, and give each player its loss.

    Arguments:
        critic: Images (B, C, H, W) to logits (B,).
        real: Real images.
        fakes: Sets of decoded images, each (B', C, H, W).
        one_pass: Whether one backward pass through the critic serves both players. That is exact only if each
            logit depends on its own image alone; by default it is done if the critic declares so
            (`latentmix.networks.Critic`) and both players step.

    Returns:
        Losses for `torch.autograd.grad` with respect to each player's own parameters. In one pass, `judge`
        and `fool` carry gradients that are computed already, for the critic's parameters and the fakes.
    """
    sizes = [len(real), *map(len, fakes)]
    images = torch.cat([real, *fakes])
    parameters = [p for p in critic.parameters() if p.requires_grad]
    both_step = bool(parameters) and any(x.requires_grad for x in fakes)
    if one_pass is None:
        one_pass = treats_images_alone(critic)
    if not (one_pass and both_step and torch.is_grad_enabled()):
        s_real, *s_fakes = _at_least_float32(critic(images)).split(sizes)
        fool = [F.softplus(-s).mean() for s in s_fakes]
        return Duel(fool, _judge(s_real, s_fakes))

    images = images.detach().requires_grad_()
    s_real, *s_fakes = _at_least_float32(critic(images)).split(sizes)
    bounded = [s + (s.clamp_min(LOWEST) - s).detach() for s in s_fakes]  # with the gradient of s everywhere
    judge = _judge(s_real, bounded)
    *g_critic, g_images = torch.autograd.grad(judge, [*parameters, images])
    _, *g_fakes = g_images.split(sizes)
    ratios = [-torch.exp(-s.detach()) for s in bounded]
    fool = [
        _carry(F.softplus(-s.detach()).mean(), [x], [g * r.to(g.dtype).reshape(-1, *[1] * (g.ndim - 1))])
        for x, s, r, g in zip(fakes, s_fakes, ratios, g_fakes)
    ]
    return Duel(fool, _carry(judge.detach(), parameters, g_critic))


def _at_least_float32(s: Tensor) -> Tensor:
    return s.to(torch.promote_types(s.dtype, torch.float32))


def _judge(s_real: Tensor, s_fakes: list[Tensor]) -> Tensor:
    return torch.stack([F.softplus(-s_real).mean(), *(F.softplus(s).mean() for s in s_fakes)]).sum()


def _carry(value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """`value`, with the given gradients with respect to the given inputs."""
    return _Carry.apply(value, gradients, *inputs)


class _Carry(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return None, None, *(upstream * g for g in ctx.gradients)
