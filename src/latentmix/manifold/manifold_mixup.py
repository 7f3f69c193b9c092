"""Manifold Mixup for anybody's network and training loop: hidden states and labels, mixed by one draw.

    mm = ManifoldMixup(model, layers=["input", "layer1", "layer2"], alpha=2.0)
    for x, y in loader:
        with mm(len(x)) as m:
            loss = m.loss(F.cross_entropy, model(x), y)

The network is not rewritten. Each eligible layer carries a permanent forward hook, and each step draws one of
them and one `Mix`, on the host, so that nothing waits for the device. Run eagerly, only the drawn layer does
any work. Under `torch.compile` all of them mix, by weights of 1 and 0 where they were not drawn, so that one
graph serves every draw.

References:
    "Manifold Mixup", Verma et al., arXiv 1806.05236 v1, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from latentmix.manifold.hooks import (
    InputHook,
    OutputHook,
    in_backward,
    on_gradient,
    refuse_wrapped,
    replace_first,
)
from latentmix.manifold.layers import INPUT, Layer, find_layers, inspect_layers, probabilities
from latentmix.mixing import Mix, Mixup


class ManifoldMixup:
    """Mixes the hidden states of a random layer: lam h + (1 - lam) h[perm], lam ~ Beta(alpha, alpha).

    The layer, `lam` and `perm` are drawn anew by every call, which opens the context of one forward pass.
    Outside of it, in evaluation mode, in deep copies of the model and after `remove` the network is
    untouched; its state_dict always is. Hooks must be there before the model is compiled or wrapped for
    several devices.

    Arguments:
        model: The network, not yet wrapped or compiled.
        layers: Where to mix: names as in `model.named_modules()`; a regular expression that must match whole
            names; or "auto", the outputs of whole blocks. "input" is the first tensor of real numbers that
            the model gets. A layer's output is mixed: the tensor, or the first tensor of real numbers in a
            tuple, dictionary or dataclass; its first dimension must be the batch.
        alpha: Of the Beta distribution; the paper takes 2 for hidden layers, 1 for the input alone.
        layer_probs: Probability of each layer, in the order of `eligible()`; uniform if None.
        per: One `lam` for the whole "batch", as published, or one for each "sample".
        fold: Keep the larger ("max") or smaller ("min") of lam and 1 - lam; None, as published, keeps lam.
        detach: Block the gradient at the mixed layer (section 4.1). What lies below gets zeros and not None,
            so that momentum and weight decay still move it, and distributed training misses no gradient.
        generator: On the CPU; where all draws come from. Torch's own if None. For the same draws on every
            rank, give each rank a generator with the same seed.
        example: What to run once for "auto": the model's input, or a tuple or dictionary of inputs, at least
            two different samples. If None, images, vectors or tokens that fit the first layer are tried.

    Raises:
        ValueError: No such layer (the nearest names are given), a model that is wrapped or carries the hooks
            of another ManifoldMixup already, or an argument out of its range.

    References:
        Manifold Mixup v1, section 2 and algorithm 2.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | str = "auto",
        *,
        alpha: float = 2.0,
        layer_probs: Sequence[float] | None = None,
        per: Literal["batch", "sample"] = "batch",
        fold: Literal["max", "min"] | None = None,
        detach: bool = False,
        generator: torch.Generator | None = None,
        example: Any = None,
    ) -> None:
        refuse_wrapped(model)
        if per not in ("batch", "sample") or fold not in (None, "max", "min"):
            raise ValueError(
                f"per={per!r}, fold={fold!r}: take 'batch' or 'sample', and None, 'max' or 'min'"
            )
        if generator is not None and generator.device.type != "cpu":
            raise ValueError(f"generator on {generator.device}: draws are made on the host, give one there")
        self._mixup = Mixup(k=2, alpha=alpha, per=per)
        self.model, self.per, self.fold, self.detach, self.generator = model, per, fold, detach, generator
        self.layers = find_layers(model, layers, example)
        self.layer_probs = probabilities(layer_probs, self.layers)
        self._active: MixedPass | None = None
        self._differentiated: MixedPass | None = None
        self._handles = [
            model.register_forward_pre_hook(InputHook(self._apply, i), with_kwargs=True)
            if name == INPUT
            else model.get_submodule(name).register_forward_hook(OutputHook(self._apply, i))
            for i, name in enumerate(self.layers)
        ]
        self._handles.append(model.register_forward_hook(OutputHook(self._watch, -1)))

    def __call__(self, batch_size: int) -> MixedPass:
        """Draw for one forward pass: ``with mm(len(x)) as m: ...``.

        In evaluation mode the draw is the identity: nothing is mixed, neither hidden states nor labels.

        Raises:
            ValueError: Nobody to mix with, or not a number.
            RuntimeError: Hooks were removed.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r}: give the number of samples, for example len(x)")
        if not self._handles:
            raise RuntimeError("this ManifoldMixup was removed from its model; make a new one")
        if not self.model.training:
            alone = torch.arange(batch_size, device="cpu")[None].expand(2, -1)
            weights = torch.tensor([[1.0], [0.0]], device="cpu").expand(2, batch_size)
            return MixedPass(self, None, Mix(alone, weights))
        if batch_size == 1:
            raise ValueError("a batch of one has nobody to mix with: use drop_last=True, or leave out `with`")
        k = int(torch.multinomial(self.layer_probs, 1, generator=self.generator))
        mix = self._mixup(torch.empty(batch_size, device="cpu"), self.generator)
        if self.fold is not None:
            order = mix.weights.sort(0, descending=self.fold == "max").values
            mix = Mix(mix.partners, order)
        return MixedPass(self, k, mix)

    def eligible(self, *args: Any, **kwargs: Any) -> list[Layer]:
        """List the layers that may be drawn; given inputs, run the model on them once per layer and look.

        The model runs in evaluation mode and without gradients. Shapes are None and `whole` is None where no
        inputs are given, and `whole` is None for a batch of one or of equal samples, which shows nothing.

        Raises:
            ValueError: A layer that the forward pass does not reach exactly once.
        """
        return inspect_layers(self.model, self.layers, args, kwargs)

    def remove(self) -> None:
        """Take the hooks off; the model is as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._active, self._differentiated = [], None, None

    def _apply(self, index: int, value: Any) -> Any:
        """What layer `index` is to hold instead of `value`; None to leave it."""
        if not self.model.training:
            return None
        if torch.compiler.is_compiling():
            return None if self._active is None else self._active._forward(index, value)
        if in_backward():
            m = self._differentiated
            return None if m is None else m._mixed(index, value)
        mixed = None if self._active is None else self._active._forward(index, value)
        if self.layers[index] != INPUT:
            self._watch(index, value if mixed is None else mixed)
        return mixed

    def _watch(self, index: int, value: Any) -> None:
        """Learn which forward pass a backward pass differentiates, for layers that it runs again.

        Activation checkpointing runs them mostly after the context has closed, and another draw than the
        first time would give wrong gradients, silently. The nodes of one forward pass are differentiated
        without those of others in between, and its output comes first.
        """
        if self.model.training and not torch.compiler.is_compiling() and not in_backward():
            m = self._active
            on_gradient(value, lambda: setattr(self, "_differentiated", m))


class MixedPass:
    """One forward pass: the draw that mixes its hidden states and its labels, and the proof that it did.

    Attributes:
        lam: Weight of each sample itself: a scalar, or (B,) if drawn per sample; float32.
        perm: Whom each sample is mixed with, shape (B,).
        layer: Name of the layer, None if nothing is mixed (evaluation mode).
        mix: Both as a `Mix`.
    """

    def __init__(self, owner: ManifoldMixup, index: int | None, mix: Mix) -> None:
        self._owner, self._index, self._detach = owner, index, owner.detach
        self._calls = [0] * len(owner.layers)
        layer_weights = torch.zeros(len(owner.layers), *mix.weights.shape, device="cpu")
        layer_weights[:, 0] = 1
        if index is not None:
            layer_weights[index] = mix.weights
        blocked = torch.arange(len(owner.layers), device="cpu") == (-1 if index is None else index)
        device = next(
            (t.device for t in (*owner.model.parameters(), *owner.model.buffers())), torch.device("cpu")
        )
        # Without waiting: what these copies need lies on the host already.
        self._layer_weights = layer_weights.to(device, non_blocking=True)
        self._blocked = blocked.to(device, non_blocking=True)
        self.mix = Mix(mix.partners.to(device, non_blocking=True), mix.weights.to(device, non_blocking=True))
        self.layer = None if index is None else owner.layers[index]
        self.perm = self.mix.partners[1]
        self.lam = self.mix.weights[0] if owner.per == "sample" else self.mix.weights[0, 0]

    def __enter__(self) -> MixedPass:
        if self._owner._active is not None:
            raise RuntimeError("another forward pass is open; leave its context first")
        self._owner._active = self
        return self

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        self._owner._active = None
        if error is None:
            self.verify()

    def loss(self, criterion: Callable[[Any, Any], Tensor], output: Any, y: Any) -> Tensor:
        """lam criterion(output, y) + (1 - lam) criterion(output, y[perm]).

        Arguments:
            criterion: Any loss of the output and one set of labels; a scalar, or one value per sample (any
                shape (B, ...), reduction="none"), which is averaged and which `per="sample"` needs.
            output: Whatever the criterion takes.
            y: Labels, a tensor with the batch in front, or a dictionary, tuple or list of them.

        Raises:
            ValueError: Labels that are not the batch's, or that the criterion refuses.
            RuntimeError: The layer was not mixed exactly once.
        """
        self.verify()
        first = _criterion(criterion, output, y)
        if self._index is None:
            return first.mean()
        second = _criterion(criterion, output, self._take(y))
        if first.ndim == 0 and self.lam.ndim:
            raise ValueError(
                "per='sample' weighs every sample's own loss, but the criterion returned one number; "
                "give it reduction='none', or use `target` and a loss that takes soft labels"
            )
        lam = self.lam.to(first.device)
        lam = lam.reshape(-1, *[1] * (first.ndim - 1)) if lam.ndim else lam
        return (lam * first + (1 - lam) * second).mean()

    def target(self, y: Tensor, num_classes: int | None = None) -> Tensor:
        """lam y + (1 - lam) y[perm], class indices as one-hot codes: for losses that take soft labels.

        Arguments:
            y: Class indices (B,), which need `num_classes`; or one-hot, multi-label or real targets (B, ...).

        Raises:
            ValueError: Labels that are not the batch's, or class indices without a number of classes.
            RuntimeError: The model ran already, but the layer was not mixed exactly once.
        """
        if any(self._calls):
            self.verify()
        if num_classes is None and y.ndim == 1 and not y.is_floating_point() and y.dtype != torch.bool:
            raise ValueError("class indices need num_classes")
        if len(y) != self.mix.partners.shape[1]:
            raise ValueError(f"{len(y)} labels for a batch of {self.mix.partners.shape[1]}")
        return Mix(self.mix.partners.to(y.device), self.mix.weights.to(y.device)).labels(y, num_classes)

    def verify(self) -> None:
        """Check that the drawn layer was mixed exactly once, as `loss` and leaving the context do.

        Raises:
            RuntimeError: It was not.
        """
        if self._index is None or (calls := self._calls[self._index]) == 1:
            return
        if calls == 0:
            raise RuntimeError(
                f"layer {self.layer!r} was never reached: labels would be mixed, but hidden states not. The "
                "forward pass must run inside the context, in training mode, on the model that was given "
                "(not a copy) and through its __call__ (not .forward); `eligible(x)` shows what it reaches"
            )
        raise RuntimeError(
            f"layer {self.layer!r} ran {calls} times and mixed each time: open one context for each forward "
            "pass, and leave out layers that a forward pass uses more than once"
        )

    def _forward(self, index: int, value: Any) -> Any:
        self._calls[index] += 1
        return self._mixed(index, value)

    def _mixed(self, index: int, value: Any) -> Any:
        """`value` with its first tensor of real numbers mixed; None if this layer is not the drawn one."""
        if not torch.compiler.is_compiling() and index != self._index:
            return None
        mixed = replace_first(value, lambda h: self._mix_at(index, h))
        if mixed is None:
            raise ValueError(
                f"layer {self._owner.layers[index]!r} holds no tensor of real numbers; where it holds tokens "
                "or class indices, mix their embedding"
            )
        return mixed

    def _mix_at(self, index: int, h: Tensor) -> Tensor:
        batch = self.mix.partners.shape[1]
        if h.ndim == 0 or h.shape[0] != batch:
            raise ValueError(
                f"layer {self._owner.layers[index]!r} holds {tuple(h.shape)}, but the draw was for a batch "
                f"of {batch}, which must be the first dimension"
            )
        mixed = Mix(self.mix.partners.to(h.device), self._layer_weights[index].to(h.device))(h)
        if self._detach:
            mixed = torch.where(self._blocked[index].to(h.device), mixed.detach(), mixed)
        return mixed

    def _take(self, y: Any) -> Any:
        if isinstance(y, Mapping):
            return {key: self._take(value) for key, value in y.items()}
        if isinstance(y, tuple | list):
            return type(y)(self._take(value) for value in y)
        if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != len(self.perm):
            what = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"type {type(y).__name__}"
            raise ValueError(f"labels of {what} for a batch of {len(self.perm)}")
        return y[self.perm.to(y.device)]


def _criterion(criterion: Callable[[Any, Any], Tensor], output: Any, y: Any) -> Tensor:
    try:
        return criterion(output, y)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        described = (
            f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}"
            if isinstance(t, Tensor)
            else type(t).__name__
            for t in (output, y)
        )
        raise ValueError(
            "the criterion refuses outputs {} with labels {}".format(*described) + f": {error}"
        ) from error
