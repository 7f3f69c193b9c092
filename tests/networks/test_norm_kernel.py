"""The compiled norm: built once, never needed."""

from __future__ import annotations

import ctypes.util
import shutil
import time
from collections.abc import Iterator
from fnmatch import fnmatch
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


GARBAGE = 'for word; do if [ "$last" = -o ]; then echo garbage > "$word"; fi; last=$word; done'


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo 'kernel.cpp:1: error: no such thing' >&2; exit 1", "kernel.cpp:1: error: no such thing"),
        ("printf 'error: \\377\\n' >&2; exit 1", "error: \N{REPLACEMENT CHARACTER}"),
        ("exit 3", "{compiler} ended with status 3"),
        ("kill -9 $$", "{compiler} ended with status -9"),
        ("sleep 60", "{compiler} took longer than 1 s"),
        ("exit 0", "No such file or directory: *"),
        (GARBAGE, "{cache}/*file too short"),
    ],
)
def test_a_compiler_that_fails_costs_one_line(script, line, tmp_path, monkeypatch) -> None:
    """It refuses, is killed, hangs, writes nothing, or something else than a library."""
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    run = norm_kernel.subprocess.run
    monkeypatch.setattr(
        norm_kernel.subprocess,
        "run",
        lambda *a, **k: run(*a, **(k | {"timeout": 1 if "sleep" in script else 60})),
    )
    with pytest.warns(UserWarning, match="compiled norm is left out") as caught:
        found = normed()
    assert len(caught) == 1
    said = str(caught[0].message).partition("goes on: ")[2]
    assert "\n" not in said
    assert fnmatch(said, "*" + line.format(compiler=compiler, cache=tmp_path))
    normed()  # asked once
    monkeypatch.setenv("LATENTMIX_KERNEL", "0")
    assert torch.equal(found, normed())


@needs_compiler
@pytest.mark.parametrize("compiler", ["env {}", "{} -O1"])
def test_a_compiler_may_be_several_words(compiler, fresh: Path, monkeypatch) -> None:
    monkeypatch.setenv("CXX", compiler.format(shutil.which("c++") or shutil.which("g++")))
    assert normed().isfinite().all()
    assert [file.suffix for file in fresh.iterdir()] == [".so"]


@needs_compiler
def test_a_library_with_nothing_of_ours_costs_one_line(monkeypatch) -> None:
    monkeypatch.setattr(norm_kernel, "_built", lambda compiler: ctypes.util.find_library("m"))
    with pytest.warns(UserWarning, match="compiled norm is left out"):
        assert normed().isfinite().all()


@needs_compiler
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_damaged_library_is_built_again(kept: float, fresh: Path, recwarn) -> None:
    """Of a file that is half there, the system would load the pages that are missing, and end the process."""
    first = normed()
    [library] = fresh.iterdir()
    whole = library.read_bytes()
    norm_kernel._function.cache_clear()
    library.unlink()  # the library that is in use is not touched
    library.write_bytes(whole[: int(kept * len(whole))])
    assert torch.equal(normed(), first)
    assert len(library.read_bytes()) == len(whole)
    assert not recwarn


def test_it_is_left_alone_where_it_does_not_fit() -> None:
    for x in (torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.zeros(0, 1, 2, 2)):
        assert not norm_kernel.takes(x, None)
    assert not norm_kernel.takes(torch.zeros(1, 1, 2, 2), torch.ones(1, dtype=torch.float64))
    assert not norm_kernel.takes(torch.zeros(1, 1, 2, 2), torch.ones(1, device="meta"))
    assert InstanceNormLeakyReLU(3)(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)
