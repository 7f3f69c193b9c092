"""What consistency does to mixes, on a spiral in the plane: AMR, appendix, figure 12.

python -m latentmix.experiments.manifold_mixup.spiral OUT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor

from latentmix.data.sources import spiral
from latentmix.methods import Batch
from latentmix.methods.amr import AMR
from latentmix.mixing import Mixup
from latentmix.networks.mlp import MLP
from latentmix.runs.folder import write_atomically
from latentmix.training.step import make_optimisers, step

# From the paper: lambda, the betas, the epochs, mixup. Everything else it leaves open, and is chosen here.
# The critic has no spectral norm: with a slope of at most one it hardly tells an arm from the gap beside it.
LAMB, BETAS, EPOCHS = 10.0, (0.0, 0.1, 10.0, 100.0), 100
POINTS, BATCH, LR = 2000, 64, 1e-3
NETWORK = MLP(d_h=2, width=128, depth=2, spectral=False)
WITHIN = 0.05  # of the spiral: five deviations of the data, an eighth of the way to the next arm
SEEDS = (0, 1, 2)


def train(beta: float, seed: int, epochs: int = EPOCHS) -> AMR:
    """Train AMR with consistency weight `beta` on the spiral."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = spiral.draw(POINTS, generator=generator)
    method = AMR((2, 1, 1), mixer=Mixup(), network=NETWORK, lamb=LAMB, consistency=beta)
    optimisers = make_optimisers(method, LR)
    for _ in range(epochs):
        order = torch.randperm(POINTS, generator=generator)
        for rows in order[: POINTS // BATCH * BATCH].split(BATCH):
            step(method, Batch(x[rows], generator=generator), optimisers)
    return method.eval()


@torch.no_grad()
def decoded(method: AMR, count: int = 2000) -> tuple[Tensor, Tensor, Tensor]:
    """New points of the spiral, their reconstructions, decoded mixes of pairs: each (count, 2, 1, 1)."""
    generator = torch.Generator().manual_seed(1000)
    x = spiral.draw(count, generator=generator)
    h = method.encode(x)
    return x, method.decode(h), method.decode(method.mixer(h, generator)(h))


def score(method: AMR) -> dict[str, float]:
    """Shares within `WITHIN` of the spiral, of mixes and of reconstructions, and mean errors."""
    x, x_hat, x_mix = decoded(method)
    away = spiral.distance(x_mix)
    with torch.no_grad():
        h = method.encode(x)
        h_mix = method.mixer(h, torch.Generator().manual_seed(0))(h)
        inconsistency = (method.encode(method.decode(h_mix)) - h_mix).norm(dim=1).mean() / h.std(0).norm()
    return {
        "mixes_on_spiral": (away < WITHIN).float().mean().item(),
        "mix_distance": away.mean().item(),
        "reconstructions_on_spiral": (spiral.distance(x_hat) < WITHIN).float().mean().item(),
        "reconstruction_error": (x_hat - x).flatten(1).norm(dim=1).mean().item(),
        "inconsistency": inconsistency.item(),
    }


def blends(count: int = 2000) -> float:
    """The share of mixes of the points themselves, without any network, that lie within `WITHIN`: chance."""
    generator = torch.Generator().manual_seed(1000)
    x = spiral.draw(count, generator=generator)
    return (spiral.distance(Mixup()(x, generator)(x)) < WITHIN).float().mean().item()


def run(out: Path, epochs: int = EPOCHS) -> dict[float, list[dict[str, float]]]:
    """Train every beta with every seed, print the table, and write spiral.json and spiral.png to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    print(f"without a network {blends():.3f} of the mixes lie within {WITHIN} of the spiral", flush=True)
    scores: dict[float, list[dict[str, float]]] = {}
    panels: dict[float, tuple[Tensor, Tensor]] = {}
    for beta in BETAS:
        scores[beta] = []
        for seed in SEEDS:
            started = time.monotonic()
            method = train(beta, seed, epochs)
            scores[beta].append(score(method) | {"seconds": time.monotonic() - started})
            if seed == SEEDS[0]:
                x, _, x_mix = decoded(method, 1000)
                panels[beta] = x, x_mix
        print(
            f"beta {beta:6g}  " + "  ".join(f"{k} {_spread(scores[beta], k)}" for k in scores[beta][0]),
            flush=True,
        )
    protocol = {"lamb": LAMB, "epochs": epochs, "points": POINTS, "batch": BATCH, "lr": LR, "within": WITHIN}
    content = {"protocol": protocol, "scores": {str(beta): rows for beta, rows in scores.items()}}
    write_atomically(out / "spiral.json", json.dumps(content, indent=2) + "\n")
    draw(panels, out / "spiral.png")
    return scores


def draw(panels: dict[float, tuple[Tensor, Tensor]], path: Path) -> None:
    """Draw decoded mixes (orange) over the data (blue), a panel for each beta: {beta: (data, mixes)}."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels), 4), layout="constrained")
    for axis, (beta, (x, x_mix)) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        axis.scatter(*x.flatten(1).T, s=3, color="#0072b2", label="data")
        axis.scatter(*x_mix.flatten(1).T, s=3, color="#d55e00", label="decoded mixes")
        axis.set(title=f"beta = {beta:g}", aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=100)


def _spread(rows: list[dict[str, float]], name: str) -> str:
    values = [row[name] for row in rows]
    return f"{fmean(values):.3f}+-{stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


if __name__ == "__main__":
    run(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/spiral"))
