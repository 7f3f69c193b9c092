"""Training steps as CUDA graphs: hundreds of kernels that are launched at once, for one run or for many.

To launch the kernels of a small network one by one takes longer than to compute them. A step is therefore
recorded once for each kind of batch, and afterwards replayed on new batches. The kernels and their order are
those of the step as it is, so the numbers are the same. The steps of several runs become parallel branches of
one graph, and share the device.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latentmix.methods import Batch, Losses, Method
from latentmix.networks import forms
from latentmix.training.compiled import Compiled
from latentmix.training.step import Part

WARM = 3  # steps of a kind that are taken before it is recorded: optimisers and libraries allocate in these
KNOWN = ("latentmix", "torch", "builtins", "collections", "functools")  # packages that draw nothing by Python
TENSORS = ("x", "y", "attributes", "unlabelled", "factors")


class Captured:
    """Takes the steps of one or several runs by replaying CUDA graphs.

    Arguments:
        say: Receives one line if a step cannot be recorded; such steps are taken kernel by kernel.
        compiled: Compiles the networks of the parts that ask for it.
    """

    def __init__(self, say: Callable[[str], None], compiled: Compiled | None = None) -> None:
        self.say, self.compiled = say, compiled or Compiled()
        self.graphs: dict[Hashable, _Graph] = {}
        self.taken: dict[Hashable, int] = {}
        self.refused: set[Hashable] = set()  # kinds of steps that cannot be recorded
        self.pool: Any = None

    def __call__(self, parts: Sequence[Part]) -> list[Losses]:
        """Take one step of every run.

        Returns:
            The losses and values of each run. They are overwritten by the next step.
        """
        kind = tuple((part.players, _kind(part.batch)) for part in parts)
        graph = self.graphs.get(kind)
        if graph is None and self.taken.get(kind, 0) >= WARM and kind not in self.refused:
            try:
                with _undone_by_errors(parts), self._compiled(parts):
                    graph = self.graphs[kind] = _Graph(parts, self.pool)
                self.pool = graph.graph.pool()
            except (RuntimeError, TypeError) as error:
                # Their generators were replaced, and their memory may not be shared with another graph now.
                self.graphs, self.pool = {}, None
                self.refused.add(kind)
                self.say(
                    "the training step is not recorded as a CUDA graph, and is slower for it: "
                    f"{_line(_first(error))}"
                )
        if graph is not None:
            return graph.replay(parts)
        self.taken[kind] = self.taken.get(kind, 0) + 1
        return [self._take(part) for part in parts]

    def _take(self, part: Part) -> Losses:
        """Take a step kernel by kernel."""
        # The rate is a tensor here too: a kernel that reads it from the device rounds it to float32.
        part = replace(part, pace=_pace(part))
        with _on_device([part]):
            if not part.compiles or self.compiled.failed:
                return part.take()
            generator = part.batch.generator
            state = None if generator is None else generator.get_state()
            try:
                with self._compiled([part]):
                    return part.take()
            except RuntimeError as error:
                if not self.compiled.gave_up(error):
                    raise
                self.say(f"the networks are not compiled, and are slower for it: {_line(error)}")
            if generator is not None and state is not None:
                generator.set_state(state)
            return part.take()

    def _compiled(self, parts: Sequence[Part]) -> AbstractContextManager[None]:
        return self.compiled.using([part.method for part in parts if part.compiles])


def _line(error: BaseException) -> str:
    return " ".join(str(error).strip().partition("\n\n")[0].split())[:200]


def _first(error: BaseException) -> BaseException:
    """Return the error that led to this one: a recording that was broken off cannot be ended either."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@contextmanager
def _undone_by_errors(parts: Sequence[Part]) -> Iterator[None]:
    """Leave stream and generators as they were if what is recorded here fails.

    PyTorch does not: if a recording cannot be ended, its stream stays the current one, and generators go on
    expecting to be recorded, so that they refuse the next draw. They are given new states that draw the same.
    """
    device = parts[0].batch.x.device
    own = [part.batch.generator for part in parts if part.batch.generator is not None]
    generators = [*own, torch.cuda.default_generators[device.index]]
    states = [generator.get_state() for generator in generators]
    stream = torch.cuda.current_stream(device)
    try:
        yield
    except Exception:
        torch.cuda.set_stream(stream)
        torch.cuda.synchronize()
        for generator, state in zip(generators, states):
            _renew(generator, state)
        raise


def _renew(generator: torch.Generator, state: Tensor) -> None:
    """Give a generator on a GPU another state, of which no graph knows."""
    fresh = torch.Generator(generator.device)
    fresh.set_state(state)
    generator.graphsafe_set_state(fresh)


def can_be_captured(method: Method) -> bool:
    """Whether all steps of a method launch the same kernels, and nothing of it is from elsewhere.

    What a stranger's module draws by Python or NumPy would be drawn once and repeated for ever.
    """
    things = [*method.modules(), *(v for m in method.modules() for v in vars(m).values())]
    known = all(type(thing).__module__.partition(".")[0] in KNOWN for thing in things)
    return type(method).capturable and not method.paced and known and forms.fast()


class _Graph:
    """A recorded step of every run, with the tensors that it reads and writes."""

    def __init__(self, parts: Sequence[Part], pool: Any) -> None:
        self.paces = [_pace(part) for part in parts]
        self.parts = [
            replace(part, batch=_copied(part.batch), pace=pace) for part, pace in zip(parts, self.paces)
        ]
        self.graph = torch.cuda.CUDAGraph()
        for part in parts:
            assert part.batch.generator is not None
            self.graph.register_generator_state(part.batch.generator)
        with _on_device(parts), torch.cuda.graph(self.graph, pool=pool):
            main = torch.cuda.current_stream()
            streams = [main, *(torch.cuda.Stream() for _ in parts[1:])]
            self.losses = []
            for stream in streams[1:]:
                stream.wait_stream(
                    main
                )  # before anything is recorded on it, so that branches run side by side
            try:
                for part, stream in zip(self.parts, streams):
                    with torch.cuda.stream(stream):
                        self.losses.append(part.take())
            finally:  # a graph with an open branch cannot be ended
                for stream in streams[1:]:
                    main.wait_stream(stream)

    def replay(self, parts: Sequence[Part]) -> list[Losses]:
        for recorded, part in zip(self.parts, parts):
            for name in TENSORS:
                if (own := getattr(recorded.batch, name)) is not None:
                    own.copy_(getattr(part.batch, name))
        for pace, part in zip(self.paces, parts):
            pace.fill_(part.pace)
        self.graph.replay()
        return self.losses


class _NoGenerator:
    """Stands where the generator on the host would be: what it draws would be the same in every replay."""


def _pace(part: Part) -> Tensor:
    """The factor on the learning rates, on the device; a tensor made of a number would wait for its copy."""
    return torch.empty((), dtype=torch.float32, device=part.batch.x.device).fill_(part.pace)


def _copied(batch: Batch) -> Batch:
    copies: dict[str, Any] = {name: getattr(batch, name) for name in TENSORS}
    copies = {name: None if tensor is None else tensor.clone() for name, tensor in copies.items()}
    copies["host"] = _NoGenerator()
    return replace(batch, **copies)


def _kind(batch: Batch) -> Hashable:
    tensors = [getattr(batch, name) for name in TENSORS]
    return tuple(None if t is None else (t.shape, t.dtype, t.stride()) for t in tensors)


@contextmanager
def _on_device(parts: Sequence[Part]) -> Iterator[None]:
    """Let optimisers be recorded; afterwards, their rates are numbers again, as checkpoints want them."""
    groups = [group for part in parts for o in part.optimisers.values() for group in o.param_groups]
    groups = [group for group in groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(groups, before):
            group["capturable"], group["lr"] = value, group.get("initial_lr", group["lr"])
