"""CUDA graphs on a processor: the operations of a block are noted and undone, and taken again in a replay.

As on a GPU, what Python computes while a block is recorded is the same in every replay; a block that asks for
a number cannot be recorded; and where a recording fails, its stream stays the current one and generators
refuse to draw. Kernels that PyTorch does not dispatch are not seen, hence LATENTMIX_KERNEL=0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latentmix.mixing import draws
from latentmix.training import captured

ASKS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"}


@dataclass
class Device:
    """What a failed recording leaves behind.

    Attributes:
        stream: Name of the current stream.
        stuck: Generators that refuse to draw.
    """

    stream: Any = "main"
    stuck: list[torch.Generator] = field(default_factory=list)


class Graph:
    """In the place of `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.operations: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []
        self.generators: list[torch.Generator] = [torch.default_generator]

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def pool(self) -> tuple[int, int]:
        return 0, 1

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, results in self.operations:
            again = function(*args, **kwargs)
            if all(value.alias_info is None for value in function._schema.returns):  # type: ignore[attr-defined]
                for old, new in zip(tree_leaves(results), tree_leaves(again)):
                    if isinstance(old, Tensor):
                        old.copy_(new)


class Recording(TorchDispatchMode):
    """Notes operations in a graph, and remembers what they overwrite."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph, self.before = graph, list[tuple[Tensor, Tensor]]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema, kwargs = function._schema, kwargs or {}
        if schema.name in ASKS:
            raise RuntimeError("operation not permitted when stream is capturing")
        given = dict(zip([argument.name for argument in schema.arguments], args)) | kwargs
        for argument in schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = [t for t in tree_leaves(given.get(argument.name)) if isinstance(t, Tensor)]
                self.before += [(t, t.clone()) for t in written]
        results = function(*args, **kwargs)
        self.graph.operations.append((function, args, kwargs, results))
        return results


@contextlib.contextmanager
def record(device: Device, graph: Graph) -> Iterator[None]:
    states = [generator.get_state() for generator in graph.generators]
    recording, before = Recording(graph), device.stream
    device.stream = "of the recording"
    try:
        with recording:
            yield
    except Exception as error:
        device.stuck += graph.generators
        raise RuntimeError("operation failed due to a previous error during capture") from error
    finally:
        with torch.no_grad():
            for tensor, value in reversed(recording.before):
                tensor.copy_(value)
        for generator, state in zip(graph.generators, states):
            generator.set_state(state)
    device.stream = before


class Stream:
    def wait_stream(self, other: Any) -> None: ...


class Generators:
    """In the place of `torch.cuda.default_generators`."""

    def __getitem__(self, index: object) -> torch.Generator:
        return torch.default_generator


def stand_in(patch: Any) -> Device:
    """Let `latentmix.training.captured` record steps on the processor, by pytest's `monkeypatch`."""
    device = Device(Stream())
    names = {
        "CUDAGraph": Graph,
        "graph": lambda graph, pool=None: record(device, graph),
        "Stream": Stream,
        "current_stream": lambda _=None: device.stream if isinstance(device.stream, Stream) else Stream(),
        "set_stream": lambda stream: setattr(device, "stream", stream),
        "stream": lambda stream: contextlib.nullcontext(),
        "synchronize": lambda _=None: None,
        "default_generators": Generators(),
    }
    for name, value in names.items():
        patch.setattr(torch.cuda, name, value)

    def renew(generator: torch.Generator, state: Tensor) -> None:
        generator.set_state(state)
        device.stuck.remove(generator)

    patch.setattr(captured, "_renew", renew)
    patch.setenv("LATENTMIX_KERNEL", "0")
    # As on a GPU, where no value is checked.
    patch.setattr(draws.Mix, "__post_init__", lambda self: None)
    patch.setattr(F, "one_hot", lambda y, count: (y[..., None] == torch.arange(count)).long())
    return device
