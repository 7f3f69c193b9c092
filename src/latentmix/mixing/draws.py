"""Mixtures of a batch: who is mixed with whom, and by how much.

`Mix` is one draw. A *mixer* is a callable ``h -> Mix``; mixers differ only in the weights that they draw.
The weight of the first parent is the papers' lambda (or alpha); unless stated otherwise it is not folded and
is drawn once per sample. This file imports only torch and can be copied into another project unchanged.

References:
    AMR: "On Adversarial Mixup Resynthesis", Beckham et al., NeurIPS 2019, equations 4 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """One draw of a mixture: ``mix(h)[b] = sum_j weights[j, b] * h[partners[j, b]]``.

    Example:
        >>> mix = Mix(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0.75, 0.5], [0.25, 0.5]]))
        >>> mix(torch.tensor([[0.0], [4.0]])).tolist()
        [[1.0], [2.0]]
        >>> mix.labels(torch.tensor([0, 1]), num_classes=2).tolist()
        [[0.75, 0.25], [0.5, 0.5]]

    Arguments:
        partners: Indices into the batch, integers of shape (K, B). Row 0 is the batch itself; the mixers of
            this package draw every row as a permutation.
        weights: Shape (K, B) or (K, B, ...), summing to one over K, and non-negative unless a mixer says
            otherwise. They are broadcast over the remaining dimensions of `h`, so (K, B) weighs samples and
            (K, B, C) weighs feature maps or units.

    Raises:
        ValueError: The shapes contradict each other. For tensors on the CPU also: the weights do not sum to
            one (within 1e-5, or within eight times the machine epsilon of their type if that is more; NaN
            passes), or partners lie outside the batch. Tensors on another device are not checked, since every
            training step would have to wait for the result.
    """

    partners: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        partners, weights = self.partners, self.weights
        if partners.ndim != 2 or partners.is_floating_point() or partners.dtype == torch.bool:
            raise ValueError(
                f"partners must be integers of shape (K, B), got {partners.dtype} {tuple(partners.shape)}"
            )
        if weights.shape[:2] != partners.shape:
            raise ValueError(
                f"weights of shape {tuple(weights.shape)} do not belong to partners of shape "
                f"{tuple(partners.shape)}: both begin with (K, B)"
            )
        if torch.compiler.is_compiling() or not weights.numel():
            return
        if weights.device.type == "cpu":
            sums = weights.detach().sum(0)
            rounding = torch.finfo(weights.dtype).eps if weights.is_floating_point() else 0.0
            wrong = (sums - 1).abs() > max(1e-5, 8 * rounding)
            if wrong.any():
                raise ValueError(
                    f"the weights of a mix must sum to one over its {len(weights)} parents, and sum to "
                    f"{float(sums[wrong][0]):.6g}"
                )
        if partners.device.type == "cpu" and (partners.min() < 0 or partners.max() >= partners.shape[1]):
            raise ValueError(f"partners must lie in 0..{partners.shape[1] - 1}, the rows of the batch")

    def __call__(self, h: Tensor) -> Tensor:
        """Mix pixels, hidden states or codes of shape (B, ...).

        Returns:
            A tensor of the shape and type of `h`; integers are mixed in the floating-point type of the
            weights.

        Raises:
            ValueError: `h` has another batch size, or its dimensions do not fit the weights.
        """
        return combine(self.partners, self.weights, h)

    def to(self, device: torch.device | str) -> Mix:
        """Return the same draw on another device; see `sent`."""
        if self.partners.device == self.weights.device == torch.device(device):
            return self
        return replace(self, partners=sent(self.partners, device), weights=sent(self.weights, device))

    def shares(self) -> Tensor:
        """Share of each parent in each sample, shape (K, B): `weights`, averaged over units."""
        return self.weights.flatten(2).mean(2) if self.weights.ndim > 2 else self.weights

    def labels(self, y: Tensor, num_classes: int | None = None, ignore_index: int = -100) -> Tensor:
        """Mix labels by the same draw, weighing each parent by its share.

        Arguments:
            y: Integer class indices of shape (B,), (B, 1), or, with one index per position, (B, ...); or
                one-hot, multi-label or real targets of shape (B, ...), as floating point or bool.
            num_classes: Width of the one-hot code for class indices; if None, it is the largest index + 1,
                which is possible for shape (B,) only.
            ignore_index: Class index that means "no class"; its one-hot code is zero.

        Returns:
            Floating-point targets: of shape (B, num_classes) for class indices, or (B, num_classes, ...) with
            one index per position; else of the shape of `y`. For class indices, the sum over classes is the
            share of parents that have a label.

        Raises:
            ValueError: Class indices have more than one dimension and `num_classes` is None, or, on the CPU,
                they lie outside 0..num_classes - 1.
        """
        if not y.is_floating_point() and y.dtype != torch.bool:
            y = one_hot(y, num_classes, ignore_index)
        return combine(self.partners, self.shares(), y)


def sent(t: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor to another device; the host waits only for copies to itself, which it reads at once.

    To a CUDA device the copy goes through page-locked memory, which PyTorch keeps for the next one. From
    other memory the driver may wait until all kernels that were launched before have ended ("API
    synchronization behavior" in the reference of the CUDA driver).
    """
    device = torch.device(device)
    if t.device == device:
        return t
    if t.device.type == "cpu" and device.type == "cuda":
        t = t.pin_memory()
    return t.to(device, non_blocking=device.type not in ("cpu", "mps"))


def combine(partners: Tensor, weights: Tensor, h: Tensor) -> Tensor:
    """Compute sum_j weights[j, b] * h[partners[j, b]] for any weights, even if they do not sum to one.

    Raises:
        ValueError: `h` has another batch size, or its dimensions do not fit the weights.
    """
    if h.ndim == 0 or h.shape[0] != partners.shape[1]:
        raise ValueError(f"drawn for a batch of {partners.shape[1]}, got {tuple(h.shape)}")
    inner = tuple(weights.shape[2:])
    if len(inner) >= h.ndim or any(w not in (1, s) for w, s in zip(inner, h.shape[1:])):
        raise ValueError(f"weights of shape {tuple(weights.shape)} do not fit {tuple(h.shape)}")
    if not (h.is_floating_point() or h.is_complex()):
        h = h.to(weights.dtype if weights.is_floating_point() else torch.get_default_dtype())
    w = weights.reshape(*weights.shape, *[1] * (h.ndim + 1 - weights.ndim)).to(h.dtype)
    mixed = w[0] * h[partners[0]]
    for j in range(1, len(w)):  # K small terms need less memory than one tensor K times as large
        mixed = mixed + w[j] * h[partners[j]]
    return mixed


def one_hot(y: Tensor, num_classes: int | None = None, ignore_index: int = -100) -> Tensor:
    """One-hot code of class indices: (B,) or (B, 1) becomes (B, C), and (B, ...) becomes (B, C, ...).

    Arguments are those of `Mix.labels`.

    Returns:
        Integers, 0 or 1; all zeros for `ignore_index`.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if num_classes is None and y.ndim > 1:
        raise ValueError(
            f"integer labels of shape {tuple(y.shape)} are class indices and need num_classes; give "
            "multi-label or real targets as floating point, y.float()"
        )
    if y.ndim == 2 and 2 < y.shape[1] == num_classes and y.device.type == "cpu" and bool((y // 2 == 0).all()):
        raise ValueError(
            f"integer labels of shape {tuple(y.shape)}, all 0 or 1, look like {num_classes} labels for each "
            "sample and not like class indices: give multi-label targets as floating point, y.float()"
        )
    ignored = y == ignore_index
    y = torch.where(ignored, 0, y).long()
    if y.device.type == "cpu" and y.numel() and not torch.compiler.is_compiling():
        classes = num_classes if num_classes is not None else int(y.max()) + 1
        if int(y.min()) < 0 or int(y.max()) >= classes:
            raise ValueError(
                f"class indices from {int(y.min())} to {int(y.max())} do not fit {classes} classes; is one "
                "of them the label of no class? Then give it as ignore_index"
            )
    code = torch.nn.functional.one_hot(y, -1 if num_classes is None else num_classes)
    return code.masked_fill(ignored[..., None], 0).movedim(-1, 1)


def pair(partners: Tensor, lam: float | Tensor) -> Mix:
    """Make the mix of two given parents, lam h + (1 - lam) h[partners].

    Arguments:
        partners: Index of each sample's partner, shape (B,); partners may repeat, as in C-Mixup, which draws
            them by the distance of their labels.
        lam: Weight of the sample itself: a number, or a tensor of shape (B,). The weights keep the precision
            of a tensor, at least float32; those of a number have PyTorch's default type.

    Raises:
        ValueError: The shapes do not fit, or, on the CPU, partners lie outside the batch.
    """
    if partners.ndim != 1:
        raise ValueError(f"partners must have shape (B,), got {tuple(partners.shape)}")
    batch = len(partners)
    exact = lam.dtype if isinstance(lam, Tensor) and lam.is_floating_point() else torch.get_default_dtype()
    kind = torch.promote_types(exact, torch.float32)
    weight = torch.as_tensor(lam, dtype=kind, device=partners.device)
    if weight.ndim > 1 or (weight.ndim == 1 and len(weight) not in (1, batch)):
        raise ValueError(f"lam of shape {tuple(weight.shape)} does not fit a batch of {batch}")
    weight = weight.expand(batch)
    itself = torch.arange(batch, device=partners.device)
    return Mix(torch.stack([itself, partners]), torch.stack([weight, 1 - weight]))


class Mixer(Protocol):
    """A callable that draws a mixture for codes `h` of shape (B, ...)."""

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix: ...


def draw_partners(
    batch: int, k: int, *, self_pairs: bool, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Draw who is mixed with whom: indices (k, batch), row 0 the identity, every row a permutation.

    With self-pairs, the other rows are independent uniform permutations, as in AMR. Without self-pairs, the k
    parents of each mix are distinct: the batch is arranged at random on a circle, and row j takes the sample
    s_j places further on, with distinct random s_j.

    Raises:
        ValueError: k < 1, or k is larger than the batch.
    """
    if not 1 <= k <= batch:
        raise ValueError(f"cannot mix k={k} parents in a batch of {batch}; k must lie in 1..{batch}")
    rows = [torch.arange(batch, device=device)]
    if self_pairs:
        rows += [torch.randperm(batch, generator=generator, device=device) for _ in range(k - 1)]
    else:
        seats = torch.randperm(batch, generator=generator, device=device)
        seat_of = torch.argsort(seats)
        steps = 1 + torch.randperm(batch - 1, generator=generator, device=device)[: k - 1]
        rows += [seats[(seat_of + s) % batch] for s in steps]
    return torch.stack(rows)


def dirichlet(
    shape: tuple[int, ...], k: int, alpha: float, *, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Draw from a symmetric Dirichlet(alpha) for any alpha > 0: shape (k, *shape), summing to one over k.

    Float32. Gamma(a) is drawn as Gamma(a + 1) U^(1 / a) in logarithms, so that a small alpha gives corners of
    the simplex and not 0/0.
    """
    gamma = torch._standard_gamma(torch.full((k, *shape), alpha + 1.0, device=device), generator=generator)
    u = torch.rand((k, *shape), device=device, generator=generator).clamp_min(torch.finfo(torch.float32).tiny)
    return (gamma.log() + u.log() / alpha).softmax(0)


@dataclass(frozen=True)
class Mixup:
    """Convex combinations of the parents: h_mix = sum_j a_j h_j with a ~ Dirichlet(alpha, ..., alpha).

    For k = 2 and alpha = 1 the weight is Uniform(0, 1), as in AMR, equation 4; larger k give equation 6. For
    k = 2 and any alpha, the first weight is Beta(alpha, alpha), as in Manifold Mixup.

    Arguments:
        k: Number of parents of each mix.
        alpha: Dirichlet concentration; values below 1 favour single parents, values above 1 even mixtures.
        per: What shares one draw: each "sample", the entire "batch", or each "unit" (feature map) of a
            sample.
        self_pairs: Whether a sample may be its own partner, as in the published code.
    """

    k: int = 2
    alpha: float = 1.0
    per: Literal["sample", "batch", "unit"] = "sample"
    self_pairs: bool = True

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k={self.k}: a mix needs at least 2 parents")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha={self.alpha}: must be above 0 and finite")

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw a mix for codes (B, ...), with weights (k, B), or (k, B, C) with per="unit".

        Raises:
            ValueError: k is larger than the batch, or per="unit" and the codes have no units.
        """
        partners = draw_partners(
            len(h), self.k, self_pairs=self.self_pairs, device=h.device, generator=generator
        )
        weights = dirichlet(_draws(self.per, h), self.k, self.alpha, device=h.device, generator=generator)
        return Mix(partners, weights.expand(self.k, len(h), *weights.shape[2:]))


@dataclass(frozen=True)
class Bernoulli:
    """Crossover (Bernoulli mixup): every unit, or feature map of a spatial code, comes from a single parent.

    For k = 2, h_mix = m h_1 + (1 - m) h_2 with m ~ Bernoulli(p), p ~ Uniform(0, 1): AMR, equation 5. For
    larger k, each unit comes from parent j with probability p_j, p ~ Dirichlet(1, ..., 1); for k = 2 this is
    the same.

    Arguments:
        k: Number of parents of each mix.
        p: How the probabilities are drawn: per "unit" (which makes every unit an independent fair draw; the
            published ``fm``), per "sample", or per "batch" (the published ``fm2``); or a number, the
            probability of the first parent, with the rest shared evenly by the other parents.
        self_pairs: Whether a sample may be its own partner, as in the published code.
    """

    k: int = 2
    p: Literal["unit", "sample", "batch"] | float = "sample"
    self_pairs: bool = True

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k={self.k}: a mix needs at least 2 parents")
        if not isinstance(self.p, str) and not 0 <= self.p <= 1:
            raise ValueError(f"p={self.p}: must be a probability, from 0 to 1")

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw a mix for codes (B, C, ...), with weights (k, B, C) that are one for one parent of each unit.

        Raises:
            ValueError: k is larger than the batch, or the codes have no units.
        """
        partners = draw_partners(
            len(h), self.k, self_pairs=self.self_pairs, device=h.device, generator=generator
        )
        batch, units = _draws("unit", h)
        if isinstance(self.p, str):
            shape = _draws(self.p, h)
            p = dirichlet(shape, self.k, 1.0, device=h.device, generator=generator)
            p = p.reshape(self.k, *shape, *[1] * (2 - len(shape))).expand(self.k, batch, units)
        else:
            p = torch.full((self.k, batch, units), (1 - self.p) / (self.k - 1), device=h.device)
            p[0] = self.p
        u = torch.rand(batch, units, device=h.device, generator=generator)
        parent = (u >= p.cumsum(0)[:-1]).sum(0)  # by inverting the cumulative distribution; 0..k-1
        weights = torch.nn.functional.one_hot(parent, self.k).movedim(-1, 0)
        return Mix(partners, weights.to(torch.float32))


def _draws(per: str, h: Tensor) -> tuple[int, ...]:
    """Return the shape of the draws: (1,) per batch, (B,) per sample or (B, C) per unit."""
    if per == "unit" and h.ndim < 2:
        raise ValueError(f"codes of shape {tuple(h.shape)} have no units to draw for")
    return {"batch": (1,), "sample": (len(h),), "unit": tuple(h.shape[:2])}[per]
