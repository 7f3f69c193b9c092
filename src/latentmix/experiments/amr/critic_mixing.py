"""AMR whose critic also learns from mixes, as Manifold Mixup's GANs do; not of a paper."""

from __future__ import annotations

from typing import Any

from latentmix.tables.table import SMOKE, Cell, Column, Scale, Table

PLACES: dict[str, Any] = {"critic_places": ["pixels", "block1"]}
SYSTEMS: dict[str, dict[str, Any]] = {
    "AMR": {},
    "AMR, FR in pixels or block 1": {"critic_mixes": "fr", **PLACES},
    "AMR, FR+FF in pixels or block 1": {"critic_mixes": "fr_ff", **PLACES},
}

TABLE = Table(
    name="amr-critic-mixing",
    title="AMR with and without mixes of real and decoded images inside the critic",
    paper="not of a paper",
    columns=(
        Column("probe, offline", "probe", "offline_accuracy", "%"),
        Column("Frechet of mixes", "frechet", "frechet"),
        Column("coverage", "frechet", "coverage"),
        Column("realistic", "honesty", "realistic"),
        Column("ghosting", "honesty", "ghosting"),
        Column("collapse", "honesty", "collapse"),
        Column("error of reconstructions", "reconstruction", "mse"),
    ),
    metrics=("probe", "frechet.n=2000", "honesty", "reconstruction"),
    cells=tuple(
        Cell(
            f"MNIST: {system}",
            {
                "method": {"name": "amr", "reconstruction": "bce", **options},
                "data": "mnist",
                "image_size": 16,
                "train_size": 12_000,
                "epochs": 1,
                "batch_size": 32,
                "lr": 1e-3,
            },
        )
        for system, options in SYSTEMS.items()
    ),
    scales={
        "short": Scale(
            minutes=1,
            note="16 pixels, one epoch of 12,000 images in batches of 32, cross-entropy, learning rate 1e-3.",
        ),
        "smoke": Scale(
            {**SMOKE, "train_size": 210, "method": {"network": {"name": "conv", "width": 4}}},
            seeds=1,
            metrics=("reconstruction",),
        ),
    },
)
