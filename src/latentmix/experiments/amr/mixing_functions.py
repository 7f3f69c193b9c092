"""What the mixing functions reach from three points of a 3-D code space: AMR, figure 3.

python -m latentmix.experiments.amr.mixing_functions [OUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from latentmix.mixing import Bernoulli, Mixer, Mixup

POINTS = torch.tensor([[0.1, 0.2, 0.9], [0.8, 0.1, 0.3], [0.4, 0.9, 0.5]])
MIXERS: dict[str, Mixer] = {
    "mixup, k = 2": Mixup(2),
    "mixup, k = 3": Mixup(3),
    "Bernoulli, k = 2": Bernoulli(2),
}


def reach(mixer: Mixer, points: Tensor = POINTS, draws: int = 200) -> Tensor:
    """Mixes of the points of a batch (B, D), drawn anew `draws` times: shape (draws B, D)."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat([mixer(points, generator)(points) for _ in range(draws)])


def draw(path: Path) -> None:
    """Draw a panel for each mixing function: mixes in blue, the three points in red."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(MIXERS), 4), layout="constrained")
    for i, (title, mixer) in enumerate(MIXERS.items()):
        axis = figure.add_subplot(1, len(MIXERS), i + 1, projection="3d")
        axis.scatter(*reach(mixer).T, s=4, color="#0072b2")
        axis.scatter(*POINTS.T, s=60, color="#d55e00")
        axis.set_title(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/mixing_functions.png"))
