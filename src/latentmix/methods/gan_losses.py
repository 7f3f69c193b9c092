"""The terms of GAN losses: functions of logits, mixes of real and generated images, the gradient penalty.

References:
    Manifold Mixup v1, section 4.4, equations 1 to 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.mixing import Mix, dirichlet

Loss = Literal["non_saturating", "hinge"]
Places = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)
]
PIXELS = "pixels"  # the place before the critic's first part


def cross_entropy(s: Tensor, t: Tensor | float) -> Tensor:
    """Mean of -t log sigmoid(s) - (1 - t) log(1 - sigmoid(s)), for logits s (B,) and labels t in [0, 1]."""
    return (t * F.softplus(-s) + (1 - t) * F.softplus(s)).mean()


def hinge(s: Tensor, t: Tensor | float) -> Tensor:
    """Mean of t relu(1 - s) + (1 - t) relu(1 + s), for logits s (B,) and labels t in [0, 1]."""
    return (t * F.relu(1 - s) + (1 - t) * F.relu(1 + s)).mean()


def linear(s: Tensor, t: Tensor | float) -> Tensor:
    """Mean of (1 - 2 t) s, the generator's side of the hinge loss: -s for images that should pass as real."""
    return ((1 - 2 * t) * s).mean()


# {name: (critic's loss, generator's loss)}, functions of logits and of labels; 1 is the label of real images.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor | float], Tensor], ...]] = {
    "non_saturating": (cross_entropy, cross_entropy),
    "hinge": (hinge, linear),
}


def draw_shares(
    batch: int, alpha: float, *, fold: bool, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Draw lam ~ Beta(alpha, alpha) for each sample, shape (B,); with `fold`, return min(lam, 1 - lam)."""
    pair = dirichlet((batch,), 2, alpha, device=device, generator=generator)
    return pair.amin(0) if fold else pair[0]


def fake_real(lam: Tensor) -> Mix:
    """Mix the i-th real with the i-th generated image of a batch ``cat([real, fake])``, shape (2B, ...).

    The first half of the result is lam real + (1 - lam) fake, as in equation 2; the second half repeats it.

    Arguments:
        lam: Weight of the real image, shape (B,).
    """
    batch = len(lam)
    own = torch.arange(2 * batch, device=lam.device)
    first = torch.cat([lam, 1 - lam])
    return Mix(torch.stack([own, own.roll(batch)]), torch.stack([first, 1 - first]))


def fake_fake(lam: Tensor, generator: torch.Generator | None = None) -> Mix:
    """Mix each image with that of a random permutation, lam fake + (1 - lam) fake', as in equation 3."""
    batch, device = len(lam), lam.device
    others = torch.randperm(batch, generator=generator, device=device)
    return Mix(torch.stack([torch.arange(batch, device=device), others]), torch.stack([lam, 1 - lam]))


def gradient_penalty(critic: nn.Module, x: Tensor, *, of_probability: bool) -> Tensor:
    """The zero-centred gradient penalty: mean over images of |grad_x D(x)|^2, summed over pixels.

    Arguments:
        critic: Maps images (B, C, H, W) to logits (B,); it must treat images independently.
        x: Real images, shape (B, C, H, W).
        of_probability: Whether D is the sigmoid of the logit, as published, or the logit itself.

    References:
        Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018, equation 9 (for
        the logit); the code published with Manifold Mixup v1 (for the sigmoid).
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        s = at_least_float32(critic(x))
        (gradient,) = torch.autograd.grad((s.sigmoid() if of_probability else s).sum(), x, create_graph=True)
        return gradient.flatten(1).square().sum(1).mean()


def judged_mixes(
    h: Tensor,
    lam: Tensor,
    generator: torch.Generator | None,
    *,
    fakes: bool,
    soft: bool,
    pairs: Tensor | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Mix real and generated images by equation 2 and, with `fakes`, generated ones by equation 3.

    Arguments:
        h: Real and generated images, or a critic's features of them, shape (2B, ...).
        lam: Weight of the real image, shape (B,).
        soft: Whether the label of a mix is the share of the real image, and not 0.
        pairs: What equation 2 mixes instead of h.

    Returns:
        Mixes, each (B, ...), and their labels, each (B,).
    """
    mix = fake_real(lam)
    truth = torch.cat([torch.ones_like(lam), torch.zeros_like(lam)])
    share = mix.labels(truth)[: len(lam)]
    mixes, labels = [mix(h if pairs is None else pairs)[: len(lam)]], [share if soft else 0 * share]
    if fakes:
        mixes.append(fake_fake(lam, generator)(h[len(lam) :]))
        labels.append(0 * share)
    return mixes, labels


def parts_of(critic: nn.Module) -> dict[str, nn.Module]:
    """Cut a critic into a sequence of named parts: its own, or a first one without a name after each pooling.

    A critic that is no sequence is one part.
    """
    if not isinstance(critic, nn.Sequential):
        return {"critic": critic}
    children = dict(critic.named_children())
    body = children.get("0")
    if not isinstance(body, nn.Sequential):
        return children
    ends = [i + 1 for i, layer in enumerate(body) if isinstance(layer, nn.AvgPool2d)]
    if not ends:
        return children
    layers = list(body)
    # The first cut keeps the class of the sequence, which may compute its first layers as one.
    cuts = [type(body)(*layers[: ends[0]]), *(nn.Sequential(*layers[i:j]) for i, j in pairwise(ends))]
    rest = nn.Sequential(*layers[ends[-1] :], *list(critic)[1:])
    return {**{f"block{i + 1}": part for i, part in enumerate(cuts)}, "head": rest}


def places_of(critic: nn.Module) -> list[str]:
    """List where a critic can mix: at "pixels" and at the output of each of its parts except the last."""
    return [PIXELS, *list(parts_of(critic))[:-1]]


def refuse_places(critic: nn.Module, places: Sequence[str]) -> None:
    """Raise ValueError if `places` is empty or names a place that the critic does not have."""
    known = places_of(critic)
    if not places:
        raise ValueError(f"places is empty; there are {', '.join(known)}")
    if unknown := [place for place in places if place not in known]:
        raise ValueError(f"the critic has no {', '.join(unknown)}; its places are {', '.join(known)}")


def draw_place(places: Sequence[str], host: torch.Generator | None) -> str:
    """Draw one of the places with equal probability, without waiting for the device."""
    return places[int(torch.randint(len(places), (), generator=host))]


def split_at(critic: nn.Module, place: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Split the critic into its parts up to and including the one called `place`, h_k, and the rest, D_k."""
    if place == PIXELS:
        return nn.Identity(), critic
    parts = list(parts_of(critic).values())
    k = places_of(critic).index(place)
    return nn.Sequential(*parts[:k]), nn.Sequential(*parts[k:])


def at_least_float32(s: Tensor) -> Tensor:
    """Convert logits to float32 if their precision is lower, since losses need it."""
    return s.to(torch.promote_types(s.dtype, torch.float32))
