"""Networks of one or several runs, compiled once by `torch.compile`, for the training steps alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from latentmix.methods import Method
from latentmix.networks import EncoderDecoder

REPAID = 20_000  # steps; compiling takes half a minute, and saves 2 of 4.3 ms a step (benchmarks/RESULTS.md)


class Compiled:
    """Compiled forms of the networks of methods.

    A network is compiled when it is used for the first time in `using`. Networks with the same layers are
    computed by the same code, which takes their tensors. Parameters and their names stay.

    Arguments:
        backend: That of `torch.compile`.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self.backend = backend
        self.failed = False
        self.first: dict[str, nn.Module] = {}
        self.forward: dict[str, Callable[..., Any]] = {}

    @contextmanager
    def using(self, methods: Sequence[Method]) -> Iterator[None]:
        """Compute the networks of these methods in their compiled form until the block ends."""
        changed: list[nn.Module] = []
        if methods:
            from torch._functorch import config  # not before: it takes seconds to import the compiler

            # A buffer that one backward pass reuses is lost to the next player who differentiates there.
            config.donated_buffer = False
        try:
            for method in () if self.failed else methods:
                for name, module in networks(method).items():
                    kind = f"{name} {module} {[tensor.shape for tensor in _tensors(module).values()]}"
                    if kind not in self.first:
                        self.first[kind] = module
                        self.forward[kind] = torch.compile(
                            module.forward, backend=self.backend, dynamic=False
                        )
                    first = self.first[kind]
                    first.forward = self.forward[kind]
                    if module is not first:
                        module.forward = partial(_computed_by, first, _tensors(module))
                    changed += [first, module]
            yield
        finally:
            for module in changed:
                vars(module).pop("forward", None)

    def gave_up(self, error: Exception) -> bool:
        """Whether an error is the compiler's own, after which networks are computed as they are."""
        compiler = sys.modules.get("torch._dynamo.exc")
        self.failed |= compiler is not None and isinstance(error, compiler.TorchDynamoException)
        return self.failed


def networks(method: Method) -> dict[str, nn.Module]:
    """The networks of a method that have convolutions, encoder and decoder apart, by name."""
    found: dict[str, nn.Module] = {}
    for name, child in method.named_children():
        parts = child.named_children() if isinstance(child, EncoderDecoder) else [("", child)]
        found |= {f"{name}.{part}".rstrip("."): module for part, module in parts if _convolves(module)}
    return found


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)) for part in module.modules())


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict((*module.named_parameters(), *module.named_buffers()))


def _computed_by(first: nn.Module, tensors: dict[str, Tensor], *inputs: Tensor) -> Any:
    return torch.func.functional_call(first, tensors, inputs)
