"""Networks of several methods, compiled once: the same losses, gradients and buffers as without."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentmix.methods import Batch, Method
from latentmix.methods.ae_gan import AEGAN
from latentmix.methods.amr import AMR
from latentmix.networks.conv import Conv
from latentmix.networks.folded_stem import pointwise
from latentmix.networks.upsample import NearestUpsample
from latentmix.training.captured import Captured
from latentmix.training.compiled import Compiled, networks
from latentmix.training.step import Part, make_optimisers, step

SHAPE = (1, 16, 16)


def made(kind: type[AMR | AEGAN] = AMR, seed: int = 0, dtype: torch.dtype = torch.float64) -> Method:
    torch.manual_seed(seed)
    return kind(SHAPE, 3, network=Conv(d_h=16, width=4)).to(dtype)


def batch(dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, *SHAPE, dtype=dtype, generator=generator) * 2 - 1
    return Batch(x, torch.tensor([0, 1, 2, 0, 1, 2]), generator=generator)


def found(method: Method) -> list[Tensor]:
    losses, values = method.losses(batch())
    players = method.players()
    gradients = [torch.autograd.grad(loss, players[name], retain_graph=True) for name, loss in losses.items()]
    return [*losses.values(), *values.values(), *(g for each in gradients for g in each), *method.buffers()]


def test_methods_share_what_is_compiled_and_keep_their_numbers() -> None:
    count = 0

    def backend(graph: Any, inputs: Any) -> Any:
        nonlocal count
        count += 1
        return graph.forward

    torch._dynamo.reset()
    compiled = Compiled(backend)
    methods = [made(AMR), made(AMR, 1), made(AEGAN, 2)]
    with compiled.using(methods):
        together = [found(method) for method in methods]
    assert count <= 2 * len(networks(methods[0]))  # AE+GAN has smaller batches, and no network of its own
    for method, ours in zip([made(AMR), made(AMR, 1), made(AEGAN, 2)], together):
        torch.testing.assert_close(ours, found(method), rtol=1e-10, atol=1e-12)
    assert not any("forward" in vars(module) for method in methods for module in method.modules())
    assert set(methods[0].state_dict()) == set(made().state_dict())


def test_what_a_compiler_reads_is_what_is_computed() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    up = NearestUpsample()
    ours = torch.compile(up.forward, backend="eager", dynamic=False)(x)
    theirs = nn.Upsample(scale_factor=2)(x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    upstream = torch.rand_like(theirs)
    a, b = (torch.autograd.grad(y, x, upstream)[0] for y in (ours, theirs))
    torch.testing.assert_close(a, b)
    stem = nn.Conv2d(1, 5, 1, padding=1).double()
    image = x[:, :1].detach()
    torch.testing.assert_close(pointwise(image, stem), stem(image))


def test_a_compiler_that_fails_is_left_out_with_one_line() -> None:
    def fails(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    torch._dynamo.reset()
    said: list[str] = []
    method, plain = made(dtype=torch.float32), made(dtype=torch.float32)
    data = batch(torch.float32)
    part = Part(
        method, data, make_optimisers(method, 1e-3), tuple(method.players()), nullcontext, None, 1.0, True
    )
    taken = Captured(said.append, Compiled(fails))
    ((losses, _),) = taken([part])
    taken([replace(part, batch=batch(torch.float32))])
    assert len(said) == 1
    assert said[0].startswith("the networks are not compiled, and are slower for it: ")
    assert "no compiler here" in said[0]
    expected, _ = step(plain, batch(torch.float32), make_optimisers(plain, 1e-3))
    for name, loss in expected.items():  # nothing was drawn twice
        torch.testing.assert_close(losses[name], loss)


def test_errors_of_the_step_itself_are_not_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    method = made(dtype=torch.float32)
    monkeypatch.setattr(method, "losses", lambda batch: (_ for _ in ()).throw(RuntimeError("out of memory")))
    part = Part(
        method, batch(torch.float32), make_optimisers(method, 1e-3), ("critic",), nullcontext, None, 1.0, True
    )
    with pytest.raises(RuntimeError, match="out of memory"):
        Captured(print, Compiled("eager"))([part])
