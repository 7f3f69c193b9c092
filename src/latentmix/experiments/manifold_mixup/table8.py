"""Mixing true factors against mixing pixels, on glyphs at new angles: Manifold Mixup, table 8 and figure 7.

python -m latentmix.experiments.manifold_mixup.table8 OUT [STEPS RATE]

27 trainings; published are 1000 steps at a learning rate of 1e-4, about five processor hours. A reduced form
takes fewer steps at another rate, which then falls linearly to zero: 150 and 3e-3 take 45 minutes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data.sources.glyphs import SIDE, Task, draw_factors, render
from latentmix.runs.folder import write_atomically

Mixing = Literal["none", "input", "factor"]
TASKS: tuple[Task, ...] = ("A", "B", "C")
MIXINGS: tuple[Mixing, ...] = ("none", "input", "factor")
SEEDS = (0, 1, 2)
BATCH, STEPS, LR, TEST_IMAGES = 128, 1000, 1e-4, 2560
# Accuracy in percent and negative log-likelihood on the test angles, from the paper; one run each.
PUBLISHED: dict[tuple[Task, Mixing], tuple[float, float]] = {
    ("A", "none"): (1.6, 8.8310),
    ("A", "input"): (0.0, 6.0601),
    ("A", "factor"): (94.77, 0.4940),
    ("B", "none"): (21.25, 7.0026),
    ("B", "input"): (18.40, 4.3149),
    ("B", "factor"): (84.02, 0.4572),
    ("C", "none"): (63.05, 4.2871),
    ("C", "input"): (66.09, 1.4181),
    ("C", "factor"): (99.06, 0.1279),
}


def network() -> nn.Sequential:
    """Four strided 5x5 convolutions with batch norm, and a linear layer: 1,081,537 weights, as published."""
    layers: list[nn.Module] = []
    for i, (c_in, c_out) in enumerate([(1, 32), (32, 64), (64, 128), (128, 256)]):
        layers += [nn.Conv2d(c_in, c_out, 5, stride=2, padding=2), nn.BatchNorm2d(c_out)]
        layers += [nn.LeakyReLU(0.02)] if i < 3 else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * (SIDE // 16) ** 2, 1))


def training_batch(task: Task, mixing: Mixing, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """New images (BATCH, 1, 64, 64) in [0, 1] and their labels (BATCH,), mixed in pairs of independent draws.

    lam ~ Uniform(0, 1) for each pair; mixed factors are cut to whole numbers, as published.
    """
    factors, y = draw_factors(BATCH, task, generator=generator)
    if mixing == "none":
        return pixels(factors), y
    others, y_other = draw_factors(BATCH, task, generator=generator)
    lam = torch.rand(BATCH, generator=generator)
    y = lam * y + (1 - lam) * y_other
    if mixing == "factor":
        return pixels((lam[:, None] * factors + (1 - lam[:, None]) * others).trunc()), y
    lam = lam.reshape(-1, 1, 1, 1)
    return lam * pixels(factors) + (1 - lam) * pixels(others), y


def pixels(factors: Tensor) -> Tensor:
    """Images (N, 1, 64, 64) in [0, 1] of factors (N, 7)."""
    return torch.from_numpy(render(factors))[:, None].float() / 255


def train(
    task: Task, mixing: Mixing, seed: int, steps: int = STEPS, rate: float | None = None
) -> nn.Sequential:
    """Train on the outer angles, at the published learning rate, or at one that falls linearly to zero."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    for step in range(steps):
        if rate is not None:
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        x, y = training_batch(task, mixing, generator)
        loss = F.binary_cross_entropy(model(x)[:, 0].sigmoid(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def score(model: nn.Module, task: Task, images: int) -> dict[str, float]:
    """Accuracy in percent and negative log-likelihood (cut at 100) on new images at the test angles."""
    factors, y = draw_factors(images, task, test=True, generator=torch.Generator().manual_seed(1000))
    p = torch.cat([model(pixels(part))[:, 0].sigmoid() for part in factors.split(BATCH)])
    accuracy = 100 * ((p > 0.5) == (y > 0.5)).float().mean().item()
    return {"accuracy": accuracy, "nll": F.binary_cross_entropy(p, y).item()}


def run(out: Path, steps: int = STEPS, rate: float | None = None) -> None:
    """Train every task, mixing and seed; print and write table8.json and figure7.png to `out`.

    What table8.json already holds for the same steps and rate is not trained again.
    """
    out.mkdir(parents=True, exist_ok=True)
    draw(out / "figure7.png")
    path = out / "table8.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    budget = {"steps": steps, "rate": rate}
    same = {key: stored.get(key) for key in budget} == budget
    rows: dict[str, dict[str, float]] = stored["rows"] if same else {}
    print(f"{steps} steps at {rate or LR:g}; accuracy % / NLL,", end=" ")
    print(f"mean +- deviation over {len(SEEDS)} seeds, and the paper's")
    for task in TASKS:
        for mixing in MIXINGS:
            for seed in SEEDS:
                name = f"{task} {mixing} {seed}"
                if name not in rows:
                    started = time.monotonic()
                    rows[name] = score(train(task, mixing, seed, steps, rate), task, TEST_IMAGES)
                    rows[name]["seconds"] = time.monotonic() - started
                    write_atomically(path, json.dumps(budget | {"rows": rows}, indent=2) + "\n")
            accuracy, nll = (
                [rows[f"{task} {mixing} {seed}"][key] for seed in SEEDS] for key in ("accuracy", "nll")
            )
            theirs = "{:.2f} / {:.3f}".format(*PUBLISHED[task, mixing])
            print(
                f"task {task} {mixing:7} {fmean(accuracy):6.2f}+-{stdev(accuracy):.2f} / {fmean(nll):.3f}"
                f"+-{stdev(nll):.3f}    paper {theirs}",
                flush=True,
            )


def draw(path: Path, images: int = 8) -> None:
    """Training images, mixed pixels and mixed factors, side by side (figure 7)."""
    panels = []
    for mixing in MIXINGS:
        x, _ = training_batch("A", mixing, torch.Generator().manual_seed(0))
        grid = x[: images * images].reshape(images, images, SIDE, SIDE).permute(0, 2, 1, 3)
        panels += [grid.reshape(images * SIDE, -1), torch.ones(images * SIDE, SIDE // 2)]
    Image.fromarray((torch.cat(panels[:-1], 1) * 255).byte().numpy()).save(path)


if __name__ == "__main__":
    run(
        Path(sys.argv[1] if len(sys.argv) > 1 else "runs/manifold_table8"),
        int(sys.argv[2]) if len(sys.argv) > 2 else STEPS,
        float(sys.argv[3]) if len(sys.argv) > 3 else None,
    )
