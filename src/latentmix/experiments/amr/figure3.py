"""AMR, figure 3: what the mixing functions reach from three points of a code space of three numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from latentmix.mixing import Bernoulli, Mixer, Mixup
from latentmix.tables.table import Scale, Table

POINTS = torch.tensor([[0.1, 0.2, 0.9], [0.8, 0.1, 0.3], [0.4, 0.9, 0.5]])
# Partners are others, so that each mix of three has three parents and the triangle is filled.
MIXERS: dict[str, Mixer] = {
    "mixup, k = 2": Mixup(2, self_pairs=False),
    "mixup, k = 3": Mixup(3, self_pairs=False),
    "Bernoulli, k = 2": Bernoulli(2, self_pairs=False),
}


def reach(mixer: Mixer, points: Tensor = POINTS, draws: int = 200) -> Tensor:
    """Mixes of the points of a batch (B, D), drawn anew `draws` times: shape (draws B, D)."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat([mixer(points, generator)(points) for _ in range(draws)])


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw a panel for each mixing function: mixes in blue, the three points in red; no run is needed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(MIXERS), 4), layout="constrained")
    for i, (title, mixer) in enumerate(MIXERS.items()):
        axis = figure.add_subplot(1, len(MIXERS), i + 1, projection="3d")
        axis.scatter(*reach(mixer).T, s=4, color="#0072b2")
        axis.scatter(*POINTS.T, s=60, color="#d55e00")
        axis.set_title(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


SCALES = {"paper": Scale(), "short": Scale(), "smoke": Scale()}
TABLE = Table("amr-figure3", "what the mixing functions reach", "AMR, figure 3", scales=SCALES, draw=draw)
