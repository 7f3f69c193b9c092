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

import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Literal, SupportsIndex

import torch
from torch import Tensor, nn

from latentmix.manifold.drawing import check_mix, on_host, partners_within_layers, sample_count
from latentmix.manifold.first_pass import examine
from latentmix.manifold.hooks import (
    InputHook,
    OutputHook,
    drop_inert,
    in_backward,
    named_tensors,
    refuse_wrapped,
    tensors,
)
from latentmix.manifold.inspection import Layer, inspect_layers
from latentmix.manifold.layers import find_layers, inputs_of, probabilities
from latentmix.manifold.masks import Merge, attach
from latentmix.manifold.passes import PLAIN
from latentmix.manifold.passes import MixedPass as MixedPass
from latentmix.manifold.recompute import Journal
from latentmix.manifold.trial_run import INPUT, Inputs
from latentmix.mixing import Mix, Mixup

_LIVING: weakref.WeakSet[ManifoldMixup] = weakref.WeakSet()
ATTEMPTS = 3  # of looking at a network whose answers show nothing


class ManifoldMixup:
    """Mixes the hidden states of a random layer: lam h + (1 - lam) h[perm], lam ~ Beta(alpha, alpha).

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> mm = ManifoldMixup(net, ["input", "0"], generator=torch.Generator().manual_seed(0))
        >>> x, y = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
        >>> with mm(len(x)) as m:
        ...     loss = m.loss(nn.functional.cross_entropy, net(x), y)
        >>> loss.ndim, m.layer in ("input", "0"), 0 <= m.lam <= 1
        (0, True, tensor(True))

    The layer, `lam` and `perm` are drawn anew by every call, which opens the context of one forward pass.
    Outside of it, in evaluation mode, in deep copies of the model and after `remove` the network is
    untouched; its state_dict always is. Hooks must be there before the model is compiled or wrapped for
    several devices. A model may carry several of them, of which one at a time is open. A deep copy of this
    object mixes its own copy of the model.

    Before the first mixed pass the network is run on up to four samples, in evaluation mode and without
    gradients, to see whether the layers can be mixed. An error says that a layer does not hold the batch
    where it should, or that mixing it changes nothing; a warning, that something passes it by.

    Arguments:
        model: The network, not yet wrapped or compiled.
        layers: Where to mix: names as in `model.named_modules()`; a regular expression that must match whole
            names; or "auto", the outputs of whole blocks. "input" is all tensors of real numbers of the
            batch's length that the model gets. A layer's output is mixed: the tensor, or the first tensor of
            real numbers in a tuple, dictionary or dataclass.
        alpha: Of the Beta distribution; the paper takes 2 for hidden layers, 1 for the input alone.
        layer_probs: Probability of each layer, in the order of `eligible()`; uniform if None.
        per: One `lam` for the whole "batch", as published, or one for each "sample".
        layer_per: One layer for the "batch", as published, or one for each "sample", which is then mixed with
            samples of the same layer.
        fold: Keep the larger ("max") or smaller ("min") of lam and 1 - lam; None, as published, keeps lam.
        detach: Block the gradient at the mixed layer (section 4.1). What lies below gets zeros and not None,
            so that momentum and weight decay still move it, and distributed training misses no gradient.
        generator: On the CPU; where all draws come from. Torch's own if None. For the same draws on every
            rank, give each rank a generator with the same seed.
        example: What to run once, here and now, to find and examine layers: the model's input, or a tuple or
            dictionary of inputs, at least two different samples. If None, "auto" tries images, vectors or
            tokens that fit the first layer.
        batch_dim: Which dimension of inputs and hidden states is the batch: one number, or a dictionary of
            layers (0 where it says nothing). Labels have it in front.
        masks: How to merge padding masks: {argument: function of a sample's mask and its partner's}. Modules
            that run after the mixed layer and take this argument get the merged mask: {"attention_mask":
            torch.maximum} where large means seen, {"src_key_padding_mask": torch.logical_and} where True
            means padding.
        check: Whether to examine the network before its first mixed pass.

    Raises:
        ValueError: No such layer (the nearest names are given), a model that is wrapped or compiled already,
            or an argument out of its range.

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
        layer_per: Literal["batch", "sample"] = "batch",
        fold: Literal["max", "min"] | None = None,
        detach: bool = False,
        generator: torch.Generator | None = None,
        example: Any = None,
        batch_dim: int | Mapping[str, int] = 0,
        masks: Mapping[str, Merge] | None = None,
        check: bool = True,
    ) -> None:
        refuse_wrapped(model)
        self.model, self.detach, self.generator = model, detach, on_host(generator)
        self.alpha, self.per, self.layer_per, self.fold = alpha, per, layer_per, fold
        self._check_options(alpha)
        input_dim = batch_dim.get(INPUT, 0) if isinstance(batch_dim, Mapping) else batch_dim
        self.layers = find_layers(model, layers, example, input_dim)
        dims = batch_dim if isinstance(batch_dim, Mapping) else dict.fromkeys(self.layers, batch_dim)
        if unknown := set(dims) - {*self.layers, INPUT}:
            raise ValueError(
                f"batch_dim names {', '.join(sorted(unknown))}, not among the layers {self.layers}"
            )
        self.batch_dims = [dims.get(name, 0) for name in self.layers]
        self._input_dim = input_dim
        self.layer_probs = probabilities(layer_probs, self.layers)
        self._masks = dict(masks or {})
        self._active: MixedPass | None = None
        self._last: MixedPass | None = None
        self._attempts, self._examined = 0 if check else ATTEMPTS, False
        self._state: Literal["new", "attached", "removed"] = "new"
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._journal: Journal[MixedPass] = Journal()
        self._attach()
        self._shown: set[str] | None = None  # names of the example's inputs, until the first mixed pass
        if example is not None and check:
            inputs = inputs_of(example, input_dim)
            self._examine(inputs, most=None)
            self._shown = {name for name, _ in named_tensors((inputs.args, dict(inputs.kwargs)))}

    def __call__(
        self,
        batch: SupportsIndex | Mix,
        *,
        layer: str | Sequence[str] | None = None,
        alpha: float | None = None,
        generator: torch.Generator | None = None,
    ) -> MixedPass:
        """Draw for one forward pass: ``with mm(len(x)) as m: ...``.

        In evaluation mode the draw is the identity: nothing is mixed, neither hidden states nor labels.

        Arguments:
            batch: The number of samples; or a `Mix` of your own, of any number of parents: chosen partners
                and weights (`latentmix.mixing.pair`), regions or masks for the shape of the layer, or two
                batches, one after the other in one tensor, mixed with each other.
            layer: Where to mix, instead of a drawn layer; or one name for each sample, whose partners must
                have the same.
            alpha, generator: For this pass instead of those of the constructor.

        Raises:
            ValueError: Nobody to mix with, not a number, no such layer, or a setting out of its range.
            RuntimeError: Hooks were removed, or the labels of the pass before were never mixed.
        """
        size = batch.partners.shape[1] if isinstance(batch, Mix) else sample_count(batch)
        self._attach()
        self._refuse_forgotten_labels()
        alpha = self.alpha if alpha is None else alpha
        self._check_options(alpha)
        generator = on_host(generator or self.generator)
        if not self.model.training:
            alone = torch.arange(size, device="cpu")[None].expand(2, -1)
            weights = torch.tensor([[1.0], [0.0]], device="cpu").expand(2, size)
            return MixedPass(self, None, Mix(alone, weights), shared=True)
        if not isinstance(batch, Mix) and size == 1:
            raise ValueError("a batch of one has nobody to mix with: use drop_last=True, or leave out `with`")
        drawn = self._draw_layer(size, generator) if layer is None else self._named(layer, size)
        if isinstance(batch, Mix):
            check_mix(batch, drawn)
            return MixedPass(self, drawn, batch)
        mix = Mixup(k=2, alpha=alpha, per=self.per)(torch.empty(size, device="cpu"), generator)
        partners = mix.partners if len(drawn) == 1 else partners_within_layers(drawn, generator)
        weights = mix.weights
        if self.fold is not None:
            weights = weights.sort(0, descending=self.fold == "max").values
        return MixedPass(self, drawn, Mix(partners, weights), shared=self.per == "batch")

    def eligible(self, *args: Any, **kwargs: Any) -> list[Layer]:
        """List the layers that may be drawn; given inputs, run the model on them a few times and look.

        The model runs in evaluation mode and without gradients. Shapes are None and `whole` and `matters` are
        None where no inputs are given; the latter also for a batch of one or of equal samples, which show
        nothing.

        Raises:
            ValueError: A layer that the forward pass does not reach exactly once, or that does not hold the
                batch where it should.
        """
        inputs = Inputs.of(args, kwargs, self._input_dim) if args or kwargs else None
        found = inspect_layers(self.model, self.layers, inputs, dict(zip(self.layers, self.batch_dims)))
        self._examined = self._examined or inputs is not None
        return found

    def remove(self) -> None:
        """Take the hooks off; the model is as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._active, self._last, self._state = [], None, None, "removed"
        self._journal = Journal()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_handles": [], "_active": None, "_last": None, "_journal": None}
        return state | {"_state": "new" if self._state == "attached" else self._state}

    def _attach(self) -> None:
        """Put the hooks on; a copy does so when it is used first: its model may not be complete before."""
        if self._state == "removed":
            raise RuntimeError("this ManifoldMixup was removed from its model; make a new one")
        if self._state == "attached":
            return
        drop_inert(self.model)
        self._journal = Journal()
        self._modules = frozenset(map(id, self.model.modules()))
        self._handles = [
            self.model.register_forward_pre_hook(InputHook(self._begin, -1), with_kwargs=True),
            # In front of other hooks: a network that collects its states by hooks collects mixed ones.
            *(
                self.model.get_submodule(name).register_forward_hook(OutputHook(self._apply, i), prepend=True)
                for i, name in enumerate(self.layers)
                if name != INPUT
            ),
            *attach(self.model, self._masks, self._current),
            self.model.register_forward_hook(OutputHook(self._end, -1)),
        ]
        self._state = "attached"
        _LIVING.add(self)

    def made(self, t: Tensor) -> MixedPass | None:
        """The pass in which a tensor was computed; None if in none, or if that cannot be told."""
        return None if t.grad_fn is None or torch.compiler.is_compiling() else self._journal.made(t.grad_fn)

    def open(self, m: MixedPass) -> None:
        """Let a pass begin; what its context does."""
        for other in _LIVING:
            if other._active is not None and other._modules & self._modules:
                raise RuntimeError("another forward pass is open; leave its context first")
        self._active = m
        self._journal.note(m)

    def close(self, m: MixedPass) -> None:
        """Let a pass end."""
        self._active = None
        self._journal.note(None)

    def complete(self, m: MixedPass) -> None:
        """A pass has ended well: its labels are expected by the next draw."""
        self._last = m
        if self._attempts < ATTEMPTS and m._drawn and not self._examined:
            self._attempts = ATTEMPTS
            warnings.warn(
                f"layers {', '.join(self.layers)} are mixed unexamined, since the network was compiled, or "
                "not called as a whole, before its first mixed pass: run `eligible(x)` once, or give "
                "example=x or check=False",
                stacklevel=3,
            )

    def _begin(self, index: int, value: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        """Before the model runs: examine it once, and mix its input if that was drawn."""
        if not self.model.training:
            return None
        m = self._active
        if torch.compiler.is_compiling() or m is None:
            pass
        elif m._drawn and not in_backward():
            args, kwargs = value
            if self._shown is not None:
                # An input that the example lacked, such as a mask, may bypass the layers.
                more = {name for name, _ in named_tensors((args, kwargs))} - self._shown
                self._attempts, self._shown = 0 if more else self._attempts, None
            if self._attempts < ATTEMPTS:
                self._examine(Inputs(args, kwargs, self._input_dim, m._size), most=4)
        return self._apply(self.layers.index(INPUT), value) if INPUT in self.layers else None

    def _apply(self, index: int, value: Any) -> Any:
        """What layer `index` is to hold instead of `value`; None to leave it."""
        if not self.model.training:
            return None
        if not torch.compiler.is_compiling() and in_backward():
            m = self._journal.recomputed()
            return None if m is None else m._mixed(index, value)
        return None if self._active is None else self._active._forward(index, value)

    def _end(self, index: int, output: Any) -> None:
        """After the model: mark its outputs by the pass that made them."""
        if self.model.training and not torch.compiler.is_compiling() and not in_backward():
            m = self._active
            for t in tensors(output):
                # Parameters and inputs are no results; another ManifoldMixup may have marked these.
                if t.grad_fn is not None and not (m is None and hasattr(t, "_mixed_by")):
                    t._mixed_by = PLAIN if m is None else weakref.ref(m)  # type: ignore[attr-defined]

    def _current(self) -> MixedPass | None:
        return self._journal.recomputed() if in_backward() else self._active

    def _examine(self, inputs: Inputs, most: int | None) -> None:
        dims = dict(zip(self.layers, self.batch_dims))
        active, self._active = self._active, None  # the network also runs in training mode, and is not mixed
        try:
            conclusive = examine(self.model, self.layers, inputs, dims, most, self._masks)
        finally:
            self._active = active
        self._attempts = ATTEMPTS if conclusive else self._attempts + 1
        self._examined = True
        if not conclusive and self._attempts == ATTEMPTS:
            warnings.warn(
                f"layers {', '.join(self.layers)} are mixed unexamined, since the network gave the same "
                "answer for all samples that were tried: run `eligible(x)` on others, or give check=False",
                stacklevel=2,
            )

    def _draw_layer(self, size: int, generator: torch.Generator | None) -> list[int]:
        if self.layer_per == "batch":
            return [int(torch.multinomial(self.layer_probs, 1, generator=generator))]
        return torch.multinomial(self.layer_probs, size, True, generator=generator).tolist()

    def _named(self, layer: str | Sequence[str], size: int) -> list[int]:
        names = [layer] if isinstance(layer, str) else list(layer)
        if not isinstance(layer, str) and len(names) != size:
            raise ValueError(f"layer has {len(names)} names for a batch of {size}")
        if unknown := set(names) - set(self.layers):
            raise ValueError(f"layer={sorted(unknown)[0]!r} is not one of {', '.join(self.layers)}")
        return [self.layers.index(name) for name in names]

    def _check_options(self, alpha: float) -> None:
        if self.per not in ("batch", "sample") or self.fold not in (None, "max", "min"):
            raise ValueError(
                f"per={self.per!r}, fold={self.fold!r}: take 'batch' or 'sample', and None, 'max' or 'min'"
            )
        if self.layer_per not in ("batch", "sample"):
            raise ValueError(f"layer_per={self.layer_per!r}: take 'batch' or 'sample'")
        Mixup(alpha=alpha)  # refuses what is not above 0

    def _refuse_forgotten_labels(self) -> None:
        last, self._last = self._last, None
        if last is not None and last._drawn and not last._labels_mixed:
            raise RuntimeError(
                f"the pass before mixed layer {last.layer!r} and never its labels: use `m.loss` or "
                "`m.target`, or mix labels yourself by `m.perm` and `m.lam`. A model that computes its "
                "own loss takes `m.target` for labels, or is called without labels and its outputs go into "
                "`m.loss`"
            )
