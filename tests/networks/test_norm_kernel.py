"""The compiled norm: built once, never needed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from latentmix.networks import norm_kernel
from latentmix.networks.instance_norm import InstanceNormLeakyReLU

needs_compiler = pytest.mark.skipif(
    not (shutil.which("c++") or shutil.which("g++")), reason="no compiler on this machine"
)


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder and a process that has not looked for the kernel yet."""
    monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path))
    norm_kernel._function.cache_clear()
    yield tmp_path
    norm_kernel._function.cache_clear()


def normed() -> torch.Tensor:
    torch.manual_seed(0)
    return InstanceNormLeakyReLU(16)(torch.randn(8, 16, 10, 10))


@needs_compiler
def test_it_is_built_once_in_seconds_and_then_loaded(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.perf_counter()
    first = normed()
    assert time.perf_counter() - start < 30
    [library] = fresh.iterdir()
    assert library.suffix == ".so"
    norm_kernel._function.cache_clear()
    monkeypatch.setattr(norm_kernel.subprocess, "run", None)  # so that compiling again would fail
    assert torch.equal(normed(), first)


@needs_compiler
def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        norm, x = InstanceNormLeakyReLU(20), torch.randn(7, 20, 9, 9, requires_grad=True)
        y = norm(x, pool=True)
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, norm.weight, norm.bias])])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for others in found[1:] for a, b in zip(found[0], others))


def test_without_a_compiler_pytorchs_form_goes_on_silently(monkeypatch, recwarn) -> None:
    monkeypatch.setattr(norm_kernel.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    expected = normed()
    assert not norm_kernel.takes(torch.zeros(1, 1, 1, 1), None)
    assert expected.isfinite().all()
    assert not recwarn


@pytest.mark.parametrize("script", ["echo 'kernel.cpp:1: error: no such thing' >&2; exit 1", "exit 0"])
def test_a_compiler_that_fails_costs_one_line(script, tmp_path, monkeypatch) -> None:
    """It refuses, or it succeeds and writes nothing."""
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.warns(UserWarning, match="compiled norm is left out") as caught:
        found = normed()
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    normed()  # asked once
    monkeypatch.setenv("LATENTMIX_KERNEL", "0")
    assert torch.equal(found, normed())


@needs_compiler
def test_a_damaged_library_costs_one_line(fresh: Path) -> None:
    library = norm_kernel._built(shutil.which("c++") or shutil.which("g++") or "")
    library.write_bytes(b"not a library")
    with pytest.warns(UserWarning, match="compiled norm is left out"):
        assert normed().isfinite().all()


def test_it_is_left_alone_where_it_does_not_fit() -> None:
    for x in (torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.zeros(0, 1, 2, 2)):
        assert not norm_kernel.takes(x, None)
    assert not norm_kernel.takes(torch.zeros(1, 1, 2, 2), torch.ones(1, dtype=torch.float64))
    assert not norm_kernel.takes(torch.zeros(1, 1, 2, 2), torch.ones(1, device="meta"))
    assert InstanceNormLeakyReLU(3)(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)
