"""Speed of the metrics: votes for FactorVAE's score, and nearest lines.

    python benchmarks/metrics.py [--peer PATH]

PATH is a checkout of AMR's published code; its function is then asked for the same number of votes, on codes
that are looked up and not encoded.
"""

from __future__ import annotations

import argparse
import ast
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from latentmix.metrics import lines
from latentmix.metrics.factors import votes

SIZES = (3, 6, 40, 32, 32)
VOTES, EVAL_VOTES, BATCH, UNITS = 10_000, 5_000, 64, 10


class Timed(NamedTuple):
    """Seconds by the clock, seconds of processor time (all threads), and the result."""

    wall: float
    processor: float
    result: Any


def timed(f: Callable[[], Any]) -> Timed:
    wall, processor = time.perf_counter(), time.process_time()
    result = f()
    return Timed(time.perf_counter() - wall, time.process_time() - processor, result)


def compare(ours: Timed, theirs: Timed) -> None:
    """On a machine that does other things too, processor time is the steadier of the two ratios."""
    print(f"ratio {theirs.wall / ours.wall:.1f} (of processor time {theirs.processor / ours.processor:.1f})")


def factor_vae(peer: Path | None) -> None:
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(s, size=50_000) for s in SIZES], 1)
    codes = np.concatenate([factors / SIZES, rng.normal(size=(len(factors), UNITS - 5))], 1)
    codes = codes.astype(np.float32)
    settings: dict[str, Any] = {"votes": VOTES, "eval_votes": EVAL_VOTES, "batch": BATCH, "prune": 0.05}
    runs = [timed(lambda: votes.factor_vae(codes, factors, rng=rng, **settings)) for _ in range(5)]
    ours = sorted(runs, key=lambda r: r.wall)[2]
    print(
        f"factor_vae {VOTES} + {EVAL_VOTES} votes of {BATCH}, {UNITS} units: {ours.wall:.2f} s, {ours.result}"
    )
    if peer is None:
        return
    published = published_function(peer)
    torch.Tensor.cuda = lambda self: self  # type: ignore[method-assign, assignment, misc]
    theirs = timed(lambda: published(Oracle(), Grid(), n_votes=VOTES + EVAL_VOTES, L=BATCH))
    print(f"published function, the same number of votes: {theirs.wall:.2f} s, {theirs.result}")
    compare(ours, theirs)


def published_function(peer: Path) -> Any:
    """The one function out of tools.py, which as a whole needs modules that are not there, off the GPU."""
    source = (peer / "tools.py").read_text()
    tree = ast.parse(source)
    names = ("dsprite_disentanglement_fv", "dsprite_disentangle_fv")
    [function] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
    scope: dict[str, Any] = {"np": np, "torch": torch}
    exec(compile(ast.Module([function], []), "tools.py", "exec"), scope)
    return scope[function.name]


class Grid:
    """dSprites as the published function asks for it; the "images" are the factors."""

    metadata = {"latents_sizes": np.array([1, *SIZES])}  # noqa: RUF012, as the published code names it

    def sample_conditional(self, factor: int, value: int, n: int) -> torch.Tensor:
        rows = np.stack([np.random.randint(0, s, size=n) for s in SIZES], 1)
        rows[:, factor - 1] = value
        return torch.from_numpy(rows)


class Oracle:
    """Codes for the price of a look-up: the factors, and noise in the other units."""

    def eval(self) -> None:
        pass

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        factors = x.flatten(1) / torch.tensor(SIZES)
        return torch.cat([factors, torch.randn(len(factors), UNITS - factors.shape[1])], 1)


def nearest_lines() -> None:
    from scipy.spatial.distance import cdist

    g = torch.Generator().manual_seed(0)
    theta = torch.rand(2, lines.PAIRS, generator=g, dtype=torch.float64) * 6.2831853
    a, b = lines.draw(theta[0]), lines.draw(theta[1])
    t = torch.linspace(0, 1, lines.STEPS)[None, :, None, None]
    images = ((1 - t) * a[:, None] + t * b[:, None]).float()
    lines.score(images[:1])  # the references are drawn once
    ours = sorted((timed(lambda: lines.score(images)) for _ in range(5)), key=lambda r: r.wall)[2]
    _, angles = lines._references("lines")
    exact = lines.draw(angles).flatten(1).double().numpy()
    flat = images.flatten(2).flatten(0, 1)
    theirs = timed(lambda: cdist(flat.double().numpy(), exact, "cosine"))
    table = theirs.result
    cosine, nearest = lines._nearest(flat, "lines")
    worst = float(np.abs((1 - cosine).numpy() - table.min(1)).max())
    same = float((nearest.numpy() == table.argmin(1)).mean())
    print(f"lines, {lines.PAIRS} x {lines.STEPS} against {len(exact)}: {ours.wall:.2f} s, {ours.result}")
    print(
        f"scipy's pairwise distances: {theirs.wall:.2f} s; worst difference {worst:.1e}, same line {same:.4%}"
    )
    compare(ours, theirs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="checkout of AMR's published code")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    factor_vae(arguments.peer)
    nearest_lines()
