"""Speed of one AMR training step against the published code's, and the memory of a run.

    python benchmarks/train_step.py [--peer PATH] [--data PATH] [--rounds N]

Batch 64, 32x32x1, d_h = 32, mixup k = 2, every player stepping, fp32, probe included. PATH is a checkout of
github.com/christopher-beckham/amr (not part of this repository). Its step needs three adaptations to
run today, made here at import: BCE targets in the prediction's shape, a stand-in for
`torchvision.utils.save_image`, and `torch.optim.optimizer.required`. Each lives in a process of its own, as
it would in use, and they take turns, step by step; medians are compared.

With --data, a folder of MNIST in parquet, a short run is trained in a process of its own and its peak
memory printed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch

from latentmix.methods import Batch
from latentmix.methods.amr import AMR
from latentmix.mixing import Mixup
from latentmix.training.device import keep_freed_memory
from latentmix.training.step import make_optimisers, step

BATCH = 64
# Multiply-accumulates an image: encoder or critic 14.1 M, decoder 7.0 M forward; backward twice as much. One
# encoding, two decodings and three judgements, each forward and backward.
FLOP_PER_IMAGE = 2 * 3 * (14.1e6 + 2 * 7.0e6 + 3 * 14.1e6)


def ours() -> Callable[[], None]:
    keep_freed_memory()  # as every run on a processor does
    method = AMR((1, 32, 32), 10, mixer=Mixup(k=2)).to(memory_format=torch.channels_last)
    optimisers = make_optimisers(method, 1e-4)
    x = torch.rand(BATCH, 1, 32, 32) * 2 - 1
    batch = Batch(x, torch.randint(10, (BATCH,)), generator=torch.Generator().manual_seed(0))
    return lambda: [v.item() for v in step(method, batch, optimisers)[1].values()] and None


def theirs(path: Path) -> Callable[[], None]:
    sys.path.insert(0, str(path))
    torchvision = types.ModuleType("torchvision")
    torchvision.utils = types.ModuleType("torchvision.utils")  # type: ignore[attr-defined]
    torchvision.utils.save_image = None  # type: ignore[attr-defined]
    sys.modules.setdefault("torchvision", torchvision)
    sys.modules.setdefault("torchvision.utils", torchvision.utils)
    sys.modules.setdefault("tqdm", types.SimpleNamespace(tqdm=None))  # type: ignore[arg-type]
    sys.modules["torch.optim.optimizer"].required = object()  # type: ignore[attr-defined]

    from architectures.arch_acai_kyle import get_network
    from models.swapgan import SwapGAN
    from models.twogan import TwoGAN

    def bce(self: object, prediction: torch.Tensor, target: float) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy(prediction, torch.full_like(prediction, target))

    SwapGAN.bce = bce
    network = get_network(1)
    probe = torch.nn.Linear(32, 10)
    probe.legacy, probe.n_in = True, 32
    model = TwoGAN(
        generator=network["gen"],
        disc_x=network["disc_x"],
        lamb=10.0,
        beta=0.0,
        cls=0.0,
        cls_enc=probe,
        update_g_every=1,
        opt_args={"lr": 1e-4, "betas": (0.5, 0.99), "weight_decay": 1e-5},
    )
    x = torch.rand(BATCH, 1, 32, 32) * 2 - 1
    y = torch.nn.functional.one_hot(torch.randint(10, (BATCH,)), 10).float()
    return lambda: model.train_on_instance(x, y, iter=1) and None


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def work(action: Callable[[], object]) -> None:
    """In a process of its own: one timed action for every line that is read."""
    for _ in sys.stdin:
        print(seconds(action), flush=True)


class Worker:
    """A process that takes a step when asked, and tells how long it took."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, __file__, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def peak_flops() -> float:
    """The machine's fp32 matrix-product rate, measured."""
    a, b = torch.rand(1536, 1536), torch.rand(1536, 1536)
    return 2 * 1536**3 / min(seconds(lambda: a @ b) for _ in range(4))


def peak_memory(data: Path) -> float:
    """Peak resident memory, in GB, of training AMR on a whole data set (shortened to 100 steps)."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"data={data}", "method.mixer.k=3", "train_size=6400", "epochs=1", f"out={folder}/run"]
        command = [sys.executable, "-m", "latentmix", "train", "method=amr", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="a checkout of the published code")
    parser.add_argument("--data", type=Path, help="a folder of MNIST in parquet, for the memory of a run")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--worker", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.worker:
        return work(ours() if options.worker == "ours" else theirs(options.peer))

    workers = {"ours": Worker("--worker", "ours")}
    if options.peer:
        workers["theirs"] = Worker("--worker", "theirs", "--peer", str(options.peer))
    for worker in workers.values():
        worker()  # the first step allocates
    times: dict[str, list[float]] = {name: [] for name in workers}
    peaks = []
    for _ in range(options.rounds):
        peaks.append(peak_flops())
        for name, worker in workers.items():
            times[name].append(worker())
    medians = {name: statistics.median(t) for name, t in times.items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    for name, median in medians.items():
        print(f"{name:7} {BATCH / median:7.1f} images/s")
    peak = statistics.median(peaks)
    share = BATCH / medians["ours"] * FLOP_PER_IMAGE / peak
    print(f"fp32 matrix-product peak {peak / 1e9:.0f} GFLOP/s, our share {100 * share:.0f} %")
    if options.peer:
        print(f"ratio {medians['theirs'] / medians['ours']:.2f}")
    if options.data:
        print(f"peak memory of an MNIST run {peak_memory(options.data):.2f} GB")
    return None


if __name__ == "__main__":
    main()
