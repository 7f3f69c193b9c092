"""What a network does with its batch and its layers, found by running it on a few samples and looking.

A layer k is *whole* if everything that the network computes from its input passes through it, f(x) =
g_k(h_k(x)): what Manifold Mixup assumes (section 2). A module inside a residual branch is not, since the skip
connection passes it by. With the layer's output held at h_k(x), a whole layer gives f(x) whatever the input
is. A layer *matters* if another sample's state there changes anything. And a dimension is the batch if states
and outputs follow the samples when these are put into another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentmix.manifold.hooks import is_real
from latentmix.manifold.trial_run import (
    INPUT,
    Inputs,
    distance,
    follows,
    length,
    run,
    take,
    undisturbed,
    without_zeros,
)


class Unfit(ValueError):
    """A layer, or an input, that cannot be mixed."""


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
        self._filled = without_zeros(model)
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
        self.apart = distance(self._answers(self.plain), self._answers(shifted))
        again, _ = self._run(self.here, seed=1)
        # A network that draws numbers in evaluation mode too shows nothing by a difference between orders.
        self.jitter = distance(self.plain, again)
        self.random = self.jitter > self.tolerance * max(self.apart, 1e-12)

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
        if not (length(h, dim) == length(moved, dim) == self.n and length(other, dim) == self.other_size):
            raise Unfit(
                f"layer {name!r} holds {tuple(h.shape)} for {self.n} samples: its dimension {dim} is not the "
                f"batch. {_advice(h, self.n, dim)}"
            )
        if not follows(h, moved, dim, self.order, self.tolerance) and not self.random:
            raise Unfit(
                f"layer {name!r} holds {tuple(h.shape)}, and its dimension {dim} does not follow the samples "
                "when they are put into another order: it is not the batch, or the network sorts its "
                f"samples. {_advice(h, self.n, dim)}"
            )

    def whole(self, name: str, besides: Sequence[Tensor] = ()) -> bool | None:
        """Whether the outputs depend on the input through this layer only; None if nothing can be seen.

        Arguments:
            besides: Inputs of `here` that may reach the outputs in another way.
        """
        if not self.apart > 0:
            return None

        def among(t: Tensor) -> bool:
            return any(t is each for each in besides)

        if name == INPUT:  # what can be mixed is held, and only the rest moves
            outputs, _ = self._run(self.here.rows(self.order, keep=lambda t: is_real(t) or among(t)))
        else:
            moved = self.here.rows(self.order, keep=among)
            outputs, _ = self._run(moved, name, self.state(name))
        return self._same(outputs)

    def blind(self, name: str, mask: Tensor) -> bool:
        """Whether the outputs stay the same when a mask, one of the inputs `here`, hides the last place.

        The layer is held. What fails with such a mask shows nothing.
        """
        hidden = mask.clone()
        hidden[..., -1] = ~mask[..., -1] if mask.dtype == torch.bool else (mask[..., -1] == 0).to(mask.dtype)
        try:
            inputs = self.here.replaced(mask, hidden)
            outputs, _ = self._run(inputs, *(() if name == INPUT else (name, self.state(name))))
        except Exception:
            return True
        return not all(bool(t.isfinite().all()) for t in outputs) or self._same(outputs)

    def _same(self, outputs: list[Tensor]) -> bool:
        """Whether outputs are those of the plain run: the same kernels ran on the same numbers.

        A leak may be small beside what the samples differ by, so only rounding is allowed.
        """
        plain, eps = self._answers(self.plain), max(torch.finfo(t.dtype).eps for t in self.plain)
        scale = max((float(t.abs().max()) for t in plain if t.numel()), default=0.0)
        allowed = min(self.tolerance * self.apart, max(1e-5 * self.apart, 4 * eps * scale, 4 * self.jitter))
        return distance(plain, self._answers(outputs)) <= allowed

    def matters(self, name: str) -> bool | None:
        """Whether other samples' states in this layer change the outputs at all."""
        if not self.apart > 0:
            return None
        if name == INPUT:
            return True
        outputs, _ = self._run(self.here, name, take(self.state(name), self.dims.get(name, 0), self.order))
        return distance(self._answers(self.plain), self._answers(outputs)) > 0

    def independent(self) -> bool:
        """Whether outputs of a sample stay the same when another sample is replaced."""
        outputs, _ = self._run(self.here.rows([*range(self.n - 1), 0]))
        for i in self._seen:
            for dim in {0, self.here.dim}:
                if length(self.plain[i], dim) == self.n == length(outputs[i], dim):
                    first, second = (t.narrow(dim, 0, self.n - 1) for t in (self.plain[i], outputs[i]))
                    if distance([first], [second]) > self.tolerance * self.apart:
                        return False
        return True

    def _answers(self, outputs: list[Tensor]) -> list[Tensor]:
        """The outputs that follow the samples: losses and tables of parameters are no answers."""
        return [outputs[i] for i in self._seen] or outputs

    def _in_order(self, a: Tensor, b: Tensor) -> bool:
        """Whether b is a in the other order: along the batch, or a dimension into which it was flattened."""
        if a.shape != b.shape or not distance([a], [b]) > 0:
            return False
        allowed = self.tolerance * distance([a], [b])
        along = [d for d in range(a.ndim) if a.shape[d] == self.n]  # behind time, it may be the second one
        if any(distance([take(a, dim, self.order)], [b]) <= allowed for dim in along):
            return True
        every = a  # where all samples are compared with all, two dimensions are the batch
        for dim in along:
            every = take(every, dim, self.order)
        if len(along) > 1 and distance([every], [b]) <= allowed:
            return True
        for dim in {0, self.here.dim}:
            if length(a, dim) and a.shape[dim] % self.n == 0:
                for sizes, at in (((self.n, -1), dim), ((-1, self.n), dim + 1)):
                    expected = take(a.unflatten(dim, sizes), at, self.order)
                    if distance([expected], [b.unflatten(dim, sizes)]) <= allowed:
                        return True
        return False

    def _run(
        self, inputs: Inputs, forced: str | None = None, state: Tensor | None = None, seed: int = 0
    ) -> tuple[list[Tensor], dict[str, list[Tensor | None]]]:
        return run(self.model, self.layers, self._filled, inputs, forced, state, seed)


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
