"""AMR, figure 12: what consistency does to mixes, on a spiral in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from latentmix import runs
from latentmix.methods.roles import Autoencodes, require
from latentmix.metrics.on_spiral import points_and_codes
from latentmix.tables.table import Cell, Column, Scale, Table

BETAS = (0.0, 0.1, 10.0, 100.0)
# From the paper: lambda, the betas, the epochs, mixup. Everything else it leaves open, and is chosen here.
# The critic has no spectral norm: with a slope of at most one it hardly tells an arm from the gap beside it.
NETWORK = {"name": "mlp", "d_h": 2, "width": 128, "depth": 2, "spectral": False}


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw decoded mixes (orange) over the data (blue), a panel for the first run of each beta."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(folders), 4), layout="constrained")
    axes = figure.subplots(1, len(folders), squeeze=False)[0]
    for axis, (name, of) in zip(axes, folders.items()):
        method = require(runs.open_run(of[0], checkpoint="last").method, Autoencodes, "figure 12")
        x, _, h_mix = points_and_codes(method, 1000)
        mixes = method.decode(h_mix).detach()
        axis.scatter(*x.flatten(1).T, s=3, color="#0072b2", label="data")
        axis.scatter(*mixes.flatten(1).T, s=3, color="#d55e00", label="decoded mixes")
        axis.set(title=name, aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=100)


TABLE = Table(
    name="amr-figure12",
    title="mixes of points of a spiral, by the weight of consistency",
    paper="AMR, figure 12",
    columns=(
        Column("mixes on the spiral", "on_spiral", "mixes_on_spiral", "%"),
        Column("blends of points, chance", "on_spiral", "blends_on_spiral", "%"),
        Column("inconsistency", "on_spiral", "inconsistency"),
        Column("reconstructions on the spiral", "on_spiral", "reconstructions_on_spiral", "%"),
    ),
    metrics=("on_spiral",),
    checkpoint="last",
    cells=tuple(
        Cell(
            f"beta = {beta:g}",
            {
                "method": {"name": "amr", "network": NETWORK, "lamb": 10.0, "consistency": beta},
                "data": {"name": "spiral", "points": 2000},
                "epochs": 100,
                "batch_size": 64,
                "lr": 1e-3,
                "validate_every": 10,
            },
        )
        for beta in BETAS
    ),
    scales={
        "paper": Scale(minutes=0.3),
        "short": Scale(minutes=0.3, note="The same as paper: it takes a minute or two."),
        "smoke": Scale({"batch_size": 16, "steps": 2}, seeds=1),
    },
    draw=draw,
)
