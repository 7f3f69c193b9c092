"""One mixed forward pass: its draw, what it does to the layers, and the proof that it did."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from latentmix.manifold.hooks import in_backward, is_real, replace_every, replace_first, tensors
from latentmix.manifold.labels import Criterion, accuracy, check_target, mixed_loss
from latentmix.manifold.masks import Merge
from latentmix.manifold.trial_run import INPUT
from latentmix.mixing.draws import Mix, combine, pair, sent

PLAIN = object()  # marks the output of a forward pass that was not mixed
ALONE = pair(torch.zeros(1, dtype=torch.long, device="cpu"), 1.0)  # the only mix of a batch of one


class Owner(Protocol):
    """What a pass needs of the `ManifoldMixup` that drew it."""

    model: nn.Module
    layers: list[str]
    batch_dims: list[int]
    detach: bool

    def made(self, t: Tensor) -> MixedPass | None: ...

    def open(self, m: MixedPass) -> None: ...

    def close(self, m: MixedPass) -> None: ...

    def complete(self, m: MixedPass) -> None: ...


class MixedPass:
    """One forward pass: the draw that mixes its hidden states and its labels, and the proof that it did.

    Attributes:
        mix: Partners and weights.
        lam: Weight of each sample itself: a number if all samples share it, or (B,); float32.
        perm: Whom each sample is mixed with, shape (B,).
        layer: Name of the layer; where every sample has one of its own, a tuple of B names; None if nothing
            is mixed (evaluation mode).

    Whoever reads `mix` or `perm` is taken to mix the labels by hand.
    """

    def __init__(
        self, owner: Owner, drawn: Sequence[int] | int | None, mix: Mix, shared: bool | None = None
    ) -> None:
        drawn = [drawn] if isinstance(drawn, int) else drawn
        names = owner.layers
        self._owner, self._detach, self._size = owner, owner.detach, mix.partners.shape[1]
        self._drawn = frozenset(drawn or ())
        self._calls = [0] * len(names)
        self._labels_mixed = False
        self._inside: dict[str, nn.Module] = {}
        self._merged: dict[tuple[str, int], Tensor] = {}  # and which samples had been mixed there
        self._rows = [-1] if drawn is None else list(drawn)  # one for all samples, or one for each
        rows = torch.tensor(self._rows, device="cpu")
        here = torch.stack([rows == i for i in range(len(names))])  # (L, 1) or (L, B)
        here = sent(here, mix.weights.device)
        alone = torch.zeros_like(mix.weights)
        alone[0] = 1
        own = [alone if alone.ndim == 2 else alone.flatten(2)[:, :, 0]] * len(names)
        for i in self._drawn:
            column = here[i].reshape(-1, *[1] * (alone.ndim - 2))
            own[i] = mix.weights if len(rows) == 1 else torch.where(column, mix.weights, alone)
        first = next(chain(owner.model.parameters(), owner.model.buffers()), None)
        device = torch.device("cpu") if first is None else first.device
        # At once: what is sent lies on the host already.
        self._given, self._mix = mix, mix.to(device)
        self._weights: Sequence[Tensor] = (
            sent(torch.stack(own), device).unbind()
            if alone.ndim == 2
            else [self._mix.weights if w is mix.weights else sent(w, device) for w in own]
        )
        self._here = sent(here, device)
        layers = tuple(names[i] for i in drawn or ())
        self.layer = layers[0] if len(layers) == 1 else layers or None
        shares = self._mix.shares()
        shared = _is_shared(mix) if shared is None else shared
        self.lam = shares[0, 0] if shared else shares[0]

    @property
    def mix(self) -> Mix:
        self._labels_mixed = True
        return self._mix

    @property
    def perm(self) -> Tensor:
        self._labels_mixed = True
        return self._mix.partners[1]

    def __enter__(self) -> MixedPass:
        self._owner.open(self)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        self._owner.close(self)
        if error is None:
            self.verify()
            self._owner.complete(self)

    def loss(self, criterion: Criterion, output: Any, y: Any) -> Tensor:
        """sum_j a_j criterion(output, y[partners_j]): of two parents, lam l(f, y) + (1 - lam) l(f, y[perm]).

        Arguments:
            criterion: Any loss of the output and one set of labels. A scalar; or reduction="none", one value
                for each sample or place, (B, ...), which weights that differ between samples need. Those are
                averaged as the criterion would: PyTorch's cross-entropies by their class weights, and
                without ignored labels; other functions over all values but those of ignored labels, which
                are no class and have a loss of zero.
            output: Whatever the criterion takes.
            y: Labels, a tensor with the batch in front, or a dictionary, tuple or list of them.

        Raises:
            ValueError: Labels that are not the batch's, or that the criterion refuses; losses that do not
                have the batch in front where they must; the output of another pass.
            RuntimeError: The layer was not mixed exactly once.
        """
        self.verify()
        self._refuse_foreign(output)
        self._labels_mixed = True
        return mixed_loss(criterion, output, y, *self._parents(y))

    def target(self, y: Tensor, num_classes: int | None = None, ignore_index: int = -100) -> Tensor:
        """lam y + (1 - lam) y[perm], class indices as one-hot codes: for losses that take soft labels.

        Arguments:
            y: Class indices, integers: (B,) or (B, 1), or (B, ...) with one for each place, which all need
                `num_classes`; or one-hot, multi-label or real targets (B, ...), floating point or bool.
            ignore_index: The class index of no class. Its code is zero, so that a sum over classes of target
                and log-probability leaves it out.

        Returns:
            (B, num_classes), or (B, num_classes, ...), as `cross_entropy` takes it; or the shape of `y`.

        Raises:
            ValueError: Labels that are not the batch's, or class indices without or outside of `num_classes`.
            RuntimeError: The model ran already, but the layer was not mixed exactly once.
        """
        if any(self._calls):
            self.verify()
        check_target(y, num_classes)
        if y.ndim == 0 or len(y) != self._size:
            raise ValueError(f"{len(y) if y.ndim else 'no'} labels for a batch of {self._size}")
        self._labels_mixed = True
        return self._mix_on(y.device).labels(y, num_classes, ignore_index)

    def accuracy(self, output: Tensor, y: Tensor) -> Tensor:
        """lam [argmax f = y] + (1 - lam) [argmax f = y[perm]], averaged: a share of 1, for the training log.

        Arguments:
            output: Scores of classes, (B, C, ...).
            y: Class indices (B, ...).
        """
        return accuracy(output.detach(), y, *self._parents(y))

    def verify(self) -> None:
        """Check that each drawn layer was mixed exactly once, as `loss` and leaving the context do.

        Raises:
            RuntimeError: It was not.
        """
        for i in self._drawn:
            calls, name = self._calls[i], self._owner.layers[i]
            if calls == 0:
                raise RuntimeError(
                    f"layer {name!r} was never reached: labels would be mixed, but hidden states not. The "
                    "forward pass must run inside the context, in training mode, on the model that was given "
                    "(not a copy) and through its __call__ (not .forward); `eligible(x)` shows what it "
                    "reaches. A network that leaves layers out at random (LayerDrop) must not leave out this "
                    "one: set its probability to 0, or name layers that always run"
                )
            if calls > 1:
                raise RuntimeError(
                    f"layer {name!r} ran {calls} times and mixed each time: open one context for each "
                    "forward pass, and leave out layers that a forward pass uses more than once"
                )

    def merges_at(self, module: nn.Module, name: str) -> bool:
        """Whether a module's mask is to be merged: it runs after the mixed layer, inside of no other."""
        key = (name, id(module))
        if in_backward():
            return key in self._merged
        done = [self._calls[i] > 0 for i in self._rows] if self._drawn else []
        if name in self._inside or not any(done):
            return False
        self._inside[name] = module
        self._merged[key] = torch.tensor(done, device="cpu")
        return True

    def leaves(self, module: nn.Module, name: str) -> None:
        """The module whose mask was merged has ended."""
        if self._inside.get(name) is module and not in_backward():
            del self._inside[name]

    def merge_mask(self, module: nn.Module, name: str, mask: Tensor, merge: Merge) -> Tensor:
        """The mask (B, ...) of each mixed sample together with those of its partners."""
        if mask.ndim == 0 or mask.shape[0] == 1 != self._size:
            return mask  # one mask for all
        if mask.shape[0] != self._size:
            raise ValueError(f"masks: {name!r} has shape {tuple(mask.shape)}, for a batch of {self._size}")
        # The other samples' layers are still to come.
        done = sent(self._merged[name, id(module)], mask.device)
        merged, itself = mask, torch.arange(self._size, device=mask.device)
        for partners in self._mix_on(mask.device).partners[1:]:
            merged = merge(merged, mask[torch.where(done, partners, itself)])
        return merged

    def _parents(self, y: Any) -> tuple[Tensor, list[Tensor]]:
        """Partners, where the labels are, and shares; of each parent one number if all samples share it."""
        labels = next(tensors(y), None)
        partners = (self._mix if labels is None else self._mix_on(labels.device)).partners
        if not self._drawn:
            return partners[:1], [self.lam.new_ones(())]
        shares = self._mix.shares()
        each = [share[0] if self.lam.ndim == 0 else share for share in shares[:-1]]
        return partners, [*each, 1 - sum(each[1:], each[0])]

    def _mix_on(self, device: torch.device) -> Mix:
        """The draw on a device: on the host as it was made there, so that nothing waits to have it back."""
        return self._mix if device == self._mix.partners.device else self._given.to(device)

    def _refuse_foreign(self, output: Any) -> None:
        for t in tensors(output):
            by = getattr(t, "_mixed_by", None)
            if by is PLAIN and self._drawn:
                raise ValueError("this output comes from a forward pass outside of the context, not mixed")
            marked = by() if isinstance(by, weakref.ref) else None
            if (marked or self._owner.made(t) or self) is not self:
                raise ValueError(
                    "this output comes from another mixed pass, which has its own draw and `loss`"
                )

    def _forward(self, index: int, value: Any) -> Any:
        self._calls[index] += 1
        return self._mixed(index, value)

    def _mixed(self, index: int, value: Any) -> Any:
        """`value` with its first tensor of real numbers mixed; None if this layer is not a drawn one."""
        if not torch.compiler.is_compiling() and index not in self._drawn:
            return None
        if self._owner.layers[index] == INPUT:
            return self._mixed_inputs(index, value)
        mixed = replace_first(value, lambda h: self._mix_at(index, h))
        if mixed is None:
            raise ValueError(
                f"layer {self._owner.layers[index]!r} holds no tensor of real numbers; where it holds tokens "
                "or class indices, mix their embedding"
            )
        return mixed

    def _mixed_inputs(self, index: int, value: Any) -> Any:
        """All inputs of real numbers that have the batch's length, mixed."""
        dim, found = self._owner.batch_dims[index], False

        def mix(t: Tensor) -> Tensor:
            nonlocal found
            if is_real(t) and (t.is_nested or (t.ndim > dim and t.shape[dim] == self._size)):
                found = True
                return self._mix_at(index, t)
            return t

        mixed = replace_every(value, mix)
        if not found:
            real = [tuple(t.shape) for t in tensors(value) if is_real(t)]
            raise ValueError(
                f"layer 'input' holds {', '.join(map(str, real))} and nothing of the batch of {self._size} "
                f"in dimension {dim}; see batch_dim"
                if real
                else "layer 'input' holds no tensor of real numbers; where it holds tokens or class indices, "
                "mix their embedding"
            )
        return mixed

    def _mix_at(self, index: int, h: Tensor) -> Tensor:
        dim, weights = self._owner.batch_dims[index], sent(self._weights[index], h.device)
        if h.layout != torch.strided or h.is_nested:
            kind, way = ("nested", "pad it") if h.is_nested else ("sparse", "make it dense")
            raise ValueError(
                f"layer {self._owner.layers[index]!r} holds a {kind} tensor, whose rows cannot be mixed: "
                f"name a layer that holds a dense one, or {way} before"
            )
        if h.ndim <= dim or h.shape[dim] != self._size:
            raise ValueError(
                f"layer {self._owner.layers[index]!r} holds {tuple(h.shape)}, but the draw was for a batch "
                f"of {self._size}, which must be dimension {dim}, the first being 0; see batch_dim"
            )
        if dim:
            h = h.movedim(dim, 0)
        if weights.ndim > 2 and not fits(weights, h):
            raise ValueError(
                f"layer {self._owner.layers[index]!r} holds {tuple(h.shape)} with the batch in front, and "
                f"weights of shape {tuple(weights.shape)} do not fit it; draw them for this shape, which "
                "`eligible(x)` shows"
            )
        if type(self._mix) is Mix:
            mixed = combine(self._mix_on(h.device).partners, weights, h)
        else:  # a formula of its own, on the great circle for instance
            mixed = torch.where(self._rows_here(index, h), self._mix_on(h.device)(h), h)
        if self._detach:
            mixed = torch.where(self._rows_here(index, h), mixed.detach(), mixed)
        return mixed.movedim(0, dim) if dim else mixed

    def _rows_here(self, index: int, h: Tensor) -> Tensor:
        """Which samples of h are mixed in this layer, (B, 1, ...) or (1, 1, ...)."""
        return sent(self._here[index], h.device).reshape(-1, *[1] * (h.ndim - 1))


def fits(weights: Tensor, h: Tensor) -> bool:
    """Whether weights (K, B, ...) can weigh states (B, ...)."""
    inner = weights.shape[2:]
    return len(inner) < h.ndim and all(w in (1, s) for w, s in zip(inner, h.shape[1:]))


def _is_shared(mix: Mix) -> bool:
    """Whether all samples have the same weights; not looked at on a device that the host would wait for."""
    shares = mix.shares().detach()
    return shares.device.type == "cpu" and bool((shares == shares[:, :1]).all())
