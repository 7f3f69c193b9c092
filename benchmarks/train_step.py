"""Speed of one AMR training step against the published code's and against the processor's limit.

    python benchmarks/train_step.py [--peer PATH] [--data PATH] [--rounds N] [--threads N]

Batch 64, 32x32x1, d_h = 32, mixup k = 2, every player stepping, probe included. PATH is a checkout of
github.com/christopher-beckham/amr (not part of this repository), which computes in fp32. Its step needs three
adaptations to run today, made here at import: BCE targets in the prediction's shape, a stand-in for
`torchvision.utils.save_image`, and `torch.optim.optimizer.required`. Each lives in a process of its own, as
it would in use, and they take turns, step by step; the shortest steps are compared, as on a shared machine
these are the steadiest, and medians are printed beside them. With one thread the ratio of processor time is
printed too: on a machine that does other things it is steadier still.

Limit: the arithmetic of the step at the rate of the best 3x3 convolution in the same precision.

With --data, a folder of MNIST in parquet, a short run is trained in a process of its own and its peak
memory printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from latentmix.methods import Batch
from latentmix.methods.amr import AMR
from latentmix.mixing import Mixup
from latentmix.training.device import Runtime
from latentmix.training.step import make_optimisers, step
from turns import Timed, Worker, machine, seconds, serve, take_turns

BATCH = 64
FORMS = {"ours": {}, "pytorch": {"LATENTMIX_KERNEL": "0"}}  # with the compiled kernel, and without


def ours(precision: str) -> Callable[[], object]:
    runtime = Runtime("cpu", precision)
    method = AMR((1, 32, 32), 10, mixer=Mixup(k=2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimisers = make_optimisers(method, 1e-4)
    x = torch.rand(BATCH, 1, 32, 32) * 2 - 1
    batch = Batch(x, torch.randint(10, (BATCH,)), generator=torch.Generator().manual_seed(0))
    return lambda: step(method, batch, optimisers, autocast=runtime.autocast)


def theirs(path: Path, device: str = "cpu") -> Callable[[], object]:
    sys.path.insert(0, str(path))
    torchvision = types.ModuleType("torchvision")
    torchvision.utils = types.ModuleType("torchvision.utils")  # type: ignore[attr-defined]
    torchvision.utils.save_image = None
    sys.modules.setdefault("torchvision", torchvision)
    sys.modules.setdefault("torchvision.utils", torchvision.utils)
    sys.modules.setdefault("tqdm", types.SimpleNamespace(tqdm=None))  # type: ignore[arg-type]
    sys.modules["torch.optim.optimizer"].required = object()  # type: ignore[attr-defined]

    from architectures.arch_acai_kyle import get_network
    from models.swapgan import SwapGAN
    from models.twogan import TwoGAN

    def bce(self: object, prediction: torch.Tensor, target: float) -> torch.Tensor:
        return F.binary_cross_entropy(prediction, torch.full_like(prediction, target))

    SwapGAN.bce = bce
    network = get_network(1)
    probe = torch.nn.Linear(32, 10)
    probe.legacy, probe.n_in = True, 32  # type: ignore[assignment]
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
    x = torch.rand(BATCH, 1, 32, 32, device=device) * 2 - 1
    y = F.one_hot(torch.randint(10, (BATCH,), device=device), 10).float()
    return lambda: model.train_on_instance(x, y, iter=1)


def convolution_limit(precision: str) -> float:
    """FLOP/s of the best 3x3 convolution, forward and backward, of several widths."""
    rates = []
    for channels, side in ((64, 32), (128, 16), (256, 16)):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        x = torch.randn(32, channels, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, dtype=dtype, requires_grad=True)
        x.requires_grad_()
        flop = 3 * 2 * 9 * channels**2 * 32 * side**2  # forward, and backward twice as much

        def both(x: torch.Tensor = x, w: torch.Tensor = w) -> object:
            y = F.conv2d(x, w, padding=1)
            return torch.autograd.grad(y, (x, w), y)

        rates.append(flop / min(seconds(both) for _ in range(6)))
    return max(rates)


def flop_of_a_step() -> float:
    """Floating-point operations of one step: convolutions and matrix products, as torch counts them."""
    action = ours("fp32")
    with Counter() as counter:
        action()
    return counter.total


class Counter(TorchDispatchMode):
    """Sums operations by torch's own formulas; its `FlopCounterMode` does not work with `autograd.grad`."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def peak_memory(data: Path) -> float:
    """Peak resident memory, in GB, of training AMR on a complete data set (shortened to 100 steps)."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"data={data}", "method.mixer.k=3", "train_size=6400", "epochs=1", f"out={folder}/run"]
        command = [sys.executable, "-m", "latentmix", "train", "method=amr", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="a checkout of the published code")
    parser.add_argument("--data", type=Path, help="a folder of MNIST in parquet, for the memory of a run")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--worker", choices=["fp32", "bf16", "theirs"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.worker:
        return serve(theirs(options.peer) if options.worker == "theirs" else ours(options.worker))

    workers: dict[str, Worker] = {}
    for form, environment in FORMS.items():
        for precision in ("fp32", "bf16"):
            workers[f"{form} {precision}"] = Worker(
                __file__, "--worker", precision, threads=options.threads, environment=environment
            )
    if options.peer:
        words = ("--worker", "theirs", "--peer", str(options.peer))
        workers["published fp32"] = Worker(__file__, *words, threads=options.threads)
    torch.set_num_threads(options.threads)
    limits: dict[str, list[float]] = {"fp32": [], "bf16": []}
    times: dict[str, list[Timed]] = {name: [] for name in workers}
    for block in range(4):  # the limit is measured between the steps, under the same load
        found = take_turns(workers, max(1, options.rounds // 4), warm=2 if block == 0 else 0)
        for name, values in found.items():
            times[name] += values
        for precision, rates in limits.items():
            rates.append(convolution_limit(precision))
    for worker in workers.values():
        worker.close()

    best = {name: min(t.clock for t in values) for name, values in times.items()}
    processor = {name: min(t.processor for t in values) for name, values in times.items()}

    def ratio(a: str, b: str) -> str:
        one = f", of processor time {processor[a] / processor[b]:.2f}" if options.threads == 1 else ""
        return f"{best[a] / best[b]:.2f}{one}"

    flop = flop_of_a_step()
    if options.peer:
        print("ratio", ratio("published fp32", "ours fp32"))
        print("bf16 ratio", ratio("published fp32", "ours bf16"))
        print("ratio without the compiled kernel", ratio("published fp32", "pytorch fp32"))
        print("bf16 ratio without the compiled kernel", ratio("published fp32", "pytorch bf16"))
    print("ratio of bf16 to fp32", ratio("ours fp32", "ours bf16"))
    print(f"AMR step, batch {BATCH}, {machine(options.threads)}, {len(times['ours fp32'])} rounds")
    print(f"{'':14}  images/s  median  of the best convolution")
    for name, values in times.items():
        share = ""
        if not name.startswith("published"):
            limit = max(limits[name.split()[1]])
            share = f"{100 * flop / best[name] / limit:4.0f} % of {limit / 1e9:.0f} GFLOP/s"
        median = statistics.median(t.clock for t in values)
        print(f"{name:14} {BATCH / best[name]:9.0f} {BATCH / median:7.0f}  {share}")
    print(f"arithmetic of our step {flop / 1e9:.1f} GFLOP")
    if options.data:
        print(f"peak memory of an MNIST run {peak_memory(options.data):.2f} GB")
    return None


if __name__ == "__main__":
    main()
