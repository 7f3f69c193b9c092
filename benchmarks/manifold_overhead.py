"""What a manifold-mixed training step costs over the plain step of the same network.

Two copies of PreActResNet-18 at batch 128 take turns, plain and mixed: forward, backward and SGD. Prints the
shortest step of each in milliseconds and their ratio (limit: 1.03). On a processor that is the time of the
processor, which other processes disturb less than they do the clock. Then it traces 50 mixed steps of a
narrow copy and prints the number of graphs (1), and on a GPU whether the host waited in 50 mixed steps.

    python benchmarks/manifold_overhead.py [--width 64] [--batch 128] [--rounds 7] [--device cpu] [--compile]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch._dynamo.testing
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.networks.resnet import PreActResNet

LAYERS = ["input", "layer1", "layer2"]
STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    x = torch.randn(options.batch, 3, 32, 32, device=device)
    y = torch.randint(10, (options.batch,), device=device)

    steps = {name: training_step(name == "mixed", x, y, options) for name in ("plain", "mixed")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round in range(options.rounds + 1):
        for name in sorted(steps, reverse=bool(round % 2)):  # nobody is always first
            elapsed = timed(steps[name], device)
            if round:  # the first one warms up
                seconds[name].append(elapsed)
    for name, values in seconds.items():
        print(f"{name:>6} {1000 * min(values):9.1f} ms")
    ratio = min(seconds["mixed"]) / min(seconds["plain"])
    print(f" ratio {ratio:9.3f}    {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"graphs {graphs(device):9}    in {STEPS} mixed steps")
    if device.type == "cuda":
        print(f" waits {waits(steps['mixed'])!s:>9}    of the host in {STEPS} mixed steps")


def training_step(
    mix: bool, x: torch.Tensor, y: torch.Tensor, options: argparse.Namespace
) -> Callable[[], None]:
    torch.manual_seed(0)
    model = PreActResNet(18, width=options.width).classifier((3, 32, 32), 10).to(x.device)
    generator = torch.Generator().manual_seed(0)
    mixup = ManifoldMixup(model, LAYERS, generator=generator, example=x[:4]) if mix else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    network = torch.compile(model) if options.compile else model

    def step() -> None:
        if mixup is None:
            loss = F.cross_entropy(network(x), y)
        else:
            with mixup(len(x)) as m:
                loss = m.loss(F.cross_entropy, network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def graphs(device: torch.device) -> int:
    """How many graphs torch.compile makes of 50 mixed forward passes, whatever layer is drawn."""
    counter = torch._dynamo.testing.CompileCounter()
    model = PreActResNet(18, width=2).classifier((3, 32, 32), 10).to(device)
    x, y = torch.randn(4, 3, 32, 32, device=device), torch.zeros(4, dtype=torch.long, device=device)
    mixup = ManifoldMixup(model, LAYERS[1:], generator=torch.Generator().manual_seed(0), example=x)
    network = torch.compile(model, backend=counter, fullgraph=True)
    for _ in range(STEPS):
        with mixup(len(x)) as m:
            m.loss(F.cross_entropy, network(x), y).backward()
    return counter.frame_count


def waits(step: Callable[[], None]) -> bool:
    """Whether the host waits for the GPU in a step."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(STEPS):
            step()
    except RuntimeError as error:
        print(error)
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


def timed(step: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


if __name__ == "__main__":
    main()
