"""What a network does with its batch and its layers, found by running it on a few samples and looking.

A layer k is *whole* if everything that the network computes from its input passes through it, f(x) =
g_k(h_k(x)): what Manifold Mixup assumes (section 2). A module inside a residual branch is not, since the skip
connection passes it by. With the layer's output held at h_k(x), a whole layer gives f(x) whatever the input
is. A layer *matters* if another sample's state there changes anything. And a dimension is the batch if states
and outputs follow the samples when these are put into another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentmix.manifold.hooks import (
    first_real,
    is_real,
    named_tensors,
    replace_every,
    replace_first,
    tensors,
)


class Unfit(ValueError):
    """A layer, or an input, that cannot be mixed."""


INPUT = "input"  # the name of the network's own input, the paper's k = 0


class Layer(NamedTuple):
    """A layer that may be mixed.

    Arguments:
        name: As in `named_modules`, or "input".
        shape: Of what is mixed, with the batch; None before a run.
        whole: Whether nothing passes the layer by; None if it was not, or could not be, tried.
        matters: Whether mixing it changes what the network returns; None as above.
    """

    name: str
    shape: tuple[int, ...] | None = None
    whole: bool | None = None
    matters: bool | None = None


class Inputs(NamedTuple):
    """What a network is called with: `size` samples along dimension `dim` of its tensors of that size."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    dim: int
    size: int

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any], dim: int) -> Inputs:
        """Take the size from the first tensor that has this dimension.

        Raises:
            ValueError: There is none.
        """
        for t in tensors((args, dict(kwargs))):
            if t.ndim > dim:
                return cls(args, kwargs, dim, t.shape[dim])
        raise ValueError(f"no input has a dimension {dim}, which is to be the batch")

    def holds_batch(self, t: Tensor) -> bool:
        return t.ndim > self.dim and t.shape[self.dim] == self.size

    def rows(self, rows: Sequence[int], keep: Callable[[Tensor], bool] = lambda t: False) -> Inputs:
        """Samples of these rows instead; `keep` says of which tensors they stay what they are."""

        def take(t: Tensor) -> Tensor:
            return _take(t, self.dim, rows) if self.holds_batch(t) and not keep(t) else t

        args, kwargs = replace_every((self.args, dict(self.kwargs)), take)
        return Inputs(args, kwargs, self.dim, len(rows))

    def fixed(self) -> list[tuple[str, Tensor]]:
        """Tensors of the batch that cannot be mixed: integers, which are tokens, indices, labels or masks."""
        return [
            (f"{name.partition('.')[2]} {str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}", t)
            for name, t in named_tensors((self.args, dict(self.kwargs)))
            if self.holds_batch(t) and not is_real(t)
        ]


class Trial:
    """Runs of a network, in evaluation mode and without gradients, on some of its samples and in two orders.

    Arguments:
        layers: Whose states are looked at.
        dims: Their batch dimension, 0 where it is not given.
        rows: Which samples, at least two different ones.

    Attributes:
        apart: The largest difference between outputs of the two orders; 0 shows nothing.
        only_numbers: Whether all outputs are single numbers: a loss.
        follows: Whether an output follows the samples, or they are only numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        inputs: Inputs,
        dims: Mapping[str, int],
        rows: list[int],
    ) -> None:
        self.model, self.layers, self.dims, self.n = model, list(layers), dims, len(rows)
        self.order = [self.n - 1, *range(self.n - 1)]
        self._filled = _without_zeros(model)
        self.here = inputs.rows(rows)
        self.moved = self.here.rows(self.order)
        self.plain, self.held = self._run(self.here)
        shifted, self.held_moved = self._run(self.moved)
        self.other_size = self.n - 1 if self.n > 2 else 2 * self.n
        _, self.held_other = self._run(self.here.rows([i % self.n for i in range(self.other_size)]))
        self.tolerance = max([1e-3, *(4 * torch.finfo(t.dtype).eps for t in self.plain)])
        pairs = list(zip(self.plain, shifted))
        self._seen = [i for i, pair in enumerate(pairs) if self._in_order(*pair)]
        self.only_numbers = all(t.ndim == 0 for t in self.plain)
        self.follows = bool(self._seen) or self.only_numbers
        self.apart = _distance(self._answers(self.plain), self._answers(shifted))
        again, _ = self._run(self.here, seed=1)
        # A network that draws numbers in evaluation mode too shows nothing by a difference between orders.
        self.random = _distance(self.plain, again) > self.tolerance * max(self.apart, 1e-12)

    def state(self, name: str) -> Tensor:
        """What the layer held, one tensor of real numbers.

        Raises:
            ValueError: The forward pass does not reach it exactly once, or it holds nothing to mix.
        """
        return _only(name, self.held[name])

    def check_batch(self, name: str) -> None:
        """Check that the layer's batch dimension is the batch.

        Raises:
            ValueError: It has another length for one of two batch sizes, or does not follow the samples.
        """
        dim = self.dims.get(name, 0)
        h, moved, other = (_only(name, held[name]) for held in (self.held, self.held_moved, self.held_other))
        if not (_length(h, dim) == _length(moved, dim) == self.n and _length(other, dim) == self.other_size):
            raise Unfit(
                f"layer {name!r} holds {tuple(h.shape)} for {self.n} samples: its dimension {dim} is not the "
                f"batch. {_advice(h, self.n, dim)}"
            )
        expected = _take(h, dim, self.order)
        if _distance([expected], [moved]) > self.tolerance * _distance([h], [moved]) and not self.random:
            raise Unfit(
                f"layer {name!r} holds {tuple(h.shape)}, and its dimension {dim} does not follow the samples "
                f"when they are put into another order, so it is not the batch. {_advice(h, self.n, dim)}"
            )

    def whole(self, name: str, besides: Tensor | None = None) -> bool | None:
        """Whether the outputs depend on the input through this layer only; None if nothing can be seen.

        Arguments:
            besides: One of the inputs `here`, which may reach the outputs in another way.
        """
        if not self.apart > 0:
            return None
        if name == INPUT:  # what can be mixed is held, and only the rest moves
            outputs, _ = self._run(self.here.rows(self.order, keep=lambda t: is_real(t) or t is besides))
        else:
            moved = self.here.rows(self.order, keep=lambda t: t is besides)
            outputs, _ = self._run(moved, name, self.state(name))
        return _distance(self._answers(self.plain), self._answers(outputs)) <= self.tolerance * self.apart

    def matters(self, name: str) -> bool | None:
        """Whether other samples' states in this layer change the outputs at all."""
        if not self.apart > 0:
            return None
        if name == INPUT:
            return True
        outputs, _ = self._run(self.here, name, _take(self.state(name), self.dims.get(name, 0), self.order))
        return _distance(self._answers(self.plain), self._answers(outputs)) > 0

    def independent(self) -> bool:
        """Whether outputs of a sample stay the same when another sample is replaced."""
        outputs, _ = self._run(self.here.rows([*range(self.n - 1), 0]))
        for i in self._seen:
            for dim in {0, self.here.dim}:
                if _length(self.plain[i], dim) == self.n == _length(outputs[i], dim):
                    first, second = (t.narrow(dim, 0, self.n - 1) for t in (self.plain[i], outputs[i]))
                    if _distance([first], [second]) > self.tolerance * self.apart:
                        return False
        return True

    def _answers(self, outputs: list[Tensor]) -> list[Tensor]:
        """The outputs that follow the samples: losses and tables of parameters are no answers."""
        return [outputs[i] for i in self._seen] or outputs

    def _in_order(self, a: Tensor, b: Tensor) -> bool:
        """Whether b is a in the other order: along the batch, or a dimension into which it was flattened."""
        if a.shape != b.shape or not _distance([a], [b]) > 0:
            return False
        allowed = self.tolerance * _distance([a], [b])
        every = a  # where all samples are compared with all, two dimensions are the batch
        for dim in (d for d in range(a.ndim) if a.shape[d] == self.n):
            every = _take(every, dim, self.order)
        if every is not a and _distance([every], [b]) <= allowed:
            return True
        for dim in {0, self.here.dim}:
            if _length(a, dim) and a.shape[dim] % self.n == 0:
                for sizes, at in (((self.n, -1), dim), ((-1, self.n), dim + 1)):
                    expected = _take(a.unflatten(dim, sizes), at, self.order)
                    if _distance([expected], [b.unflatten(dim, sizes)]) <= allowed:
                        return True
        return False

    def _run(
        self, inputs: Inputs, forced: str | None = None, state: Tensor | None = None, seed: int = 0
    ) -> tuple[list[Tensor], dict[str, list[Tensor | None]]]:
        """Outputs of real numbers, and what layers held at each call; `forced` is held at `state`."""
        torch.manual_seed(seed)
        held: dict[str, list[Tensor | None]] = {name: [] for name in self.layers}

        def look(name: str, value: Any) -> Any:
            h = first_real(value)
            held[name].append(None if h is None else h.clone())
            if name != forced or state is None:
                return None
            return replace_first(value, lambda h: state.to(h).clone())

        handles = []
        for name in self.layers:
            if name == INPUT:
                hook = self.model.register_forward_pre_hook
                handles.append(hook(lambda m, args, kwargs: look(INPUT, (args, kwargs)), with_kwargs=True))
            else:
                after = self.model.get_submodule(name).register_forward_hook
                handles.append(after(lambda m, args, output, name=name: look(name, output)))
        try:
            output = torch.func.functional_call(self.model, self._filled, inputs.args, dict(inputs.kwargs))
        finally:
            for handle in handles:
                handle.remove()
        # A model with a loss and hidden states besides has its answer under this name.
        answer = output["logits"] if isinstance(output, Mapping) and "logits" in output else output
        # Nor are the caches of a language model answers: of objects only what there is nothing else than.
        real = [t for _, t in named_tensors(answer, objects=False) if t.is_floating_point()]
        return real or [t for t in tensors(answer) if t.is_floating_point()], held


def inspect_layers(
    model: nn.Module, layers: Sequence[str], inputs: Inputs | None, dims: Mapping[str, int]
) -> list[Layer]:
    """Describe layers by running the model on the given inputs, if any.

    Raises:
        ValueError: A layer that the forward pass does not reach exactly once, that holds nothing to mix, or
            whose batch dimension is not the batch.
    """
    if inputs is None:
        return [Layer(name) for name in layers]
    with undisturbed(model):
        trial = Trial(model, layers, inputs, dims, list(range(inputs.size)))
        for name in layers:
            if name != INPUT:
                trial.check_batch(name)
        return [
            Layer(name, tuple(trial.state(name).shape), trial.whole(name), trial.matters(name))
            for name in layers
        ]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, and afterwards every module and generator as it was."""
    modes = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    devices = {t.device.index for t in model.parameters() if t.device.type == "cuda"}
    try:
        for module, _ in modes:  # not by .eval(), which some modules take as a sign to change their weights
            module.training = False
        torch.backends.mha.set_fastpath_enabled(False)  # it would pass hooks by
        with torch.no_grad(), torch.random.fork_rng([d for d in devices if d is not None]):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes:
            module.training = mode


def _without_zeros(model: nn.Module) -> dict[str, Tensor]:
    """Values for weights that are all zero, as those of a last layer or of a branch often are at the start.

    With them nothing could be seen: the network would give one answer for all samples.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    filled = {}
    for name, p in model.named_parameters():
        if p.is_floating_point() and not name.endswith("bias") and p.numel() and not p.any():
            scale = p[0].numel() ** -0.5 if p.ndim > 1 else 1.0
            values = (
                torch.randn(p.shape, generator=generator, device="cpu")
                if p.ndim > 1
                else torch.ones(p.shape, device="cpu")
            )
            filled[name] = (scale * values).to(p)
    return filled


def _only(name: str, held: list[Tensor | None]) -> Tensor:
    if len(held) != 1:
        raise Unfit(f"the forward pass reaches layer {name!r} {len(held)} times, not once")
    if held[0] is None:
        raise Unfit(f"layer {name!r} holds no tensor of real numbers to mix")
    return held[0]


def _advice(h: Tensor, n: int, dim: int) -> str:
    others = [d for d in range(h.ndim) if d != dim and h.shape[d] == n]
    if others:
        return f"If dimension {others[0]} is, give batch_dim={others[0]}; otherwise name another layer"
    return "Give its batch_dim, or name another layer"


def _take(t: Tensor, dim: int, rows: Sequence[int]) -> Tensor:
    return t.index_select(dim, torch.tensor(rows, device=t.device))


def _length(t: Tensor, dim: int) -> int:
    return t.shape[dim] if t.ndim > dim else 0


def _distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The largest difference between tensors; infinite where their shapes differ."""
    if len(a) != len(b) or any(s.shape != t.shape for s, t in zip(a, b)):
        return float("inf")
    return max((float((s.double() - t.double()).abs().max()) for s, t in zip(a, b) if s.numel()), default=0.0)
