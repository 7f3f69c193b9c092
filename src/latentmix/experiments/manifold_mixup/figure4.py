"""Manifold Mixup, figures 3 and 4: mixes of pixels, and mixed hidden states that are decoded to images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from latentmix import runs
from latentmix.experiments.manifold_mixup.classifiers import training
from latentmix.methods.roles import Autoencodes, require
from latentmix.pictures import figures
from latentmix.scoring import data_of
from latentmix.tables.table import SMOKE, Cell, Column, Scale, Table

MIXINGS = ("no mixup", "input mixup", "Manifold Mixup")
PAIRS, COLUMNS = ((0, 1), (4, 9), (7, 2)), 11  # classes; images of a walk


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw a block for each pair: blended pixels, then decoded mixes, a row for each classifier."""
    opened = {
        name.partition(", ")[2]: runs.open_run(of[0], checkpoint="last")
        for name, of in folders.items()
        if name.startswith("decoder")
    }
    if not opened:
        return
    test = data_of(next(iter(opened.values()))).test
    assert test.labels is not None
    labels = test.labels.tolist()
    x1, x2 = (test.pixels(torch.tensor([labels.index(p[i]) for p in PAIRS])) for i in (0, 1))
    methods = {name: require(run.method, Autoencodes, "figure 4") for name, run in opened.items()}
    rows = figures.mixup_paths(methods, x1, x2, COLUMNS)
    figures.interpolations(rows, path, ends=torch.stack([x1, x2], 1))


TABLE = Table(
    name="manifold-figure4",
    title="decoded mixes of hidden states",
    paper="Manifold Mixup, figures 3 and 4",
    columns=(
        Column("accuracy of the classifier, last epoch", "training", "last_test_accuracy", "%"),
        Column("reconstruction error", "blend", "error"),
        Column("apart from a blend", "blend", "apart_from_blend"),
    ),
    checkpoint="last",
    cells=(
        *(Cell(f"classifier, {mixing}", training("cifar10", mixing)) for mixing in MIXINGS),
        *(
            Cell(
                f"decoder, {mixing}",
                {"protocol": "paper", "method": "hidden_decoder", "data": "cifar10", "epochs": 200},
                start=f"classifier, {mixing}",
                metrics=("blend",),
            )
            for mixing in MIXINGS
        ),
    ),
    scales={
        "paper": Scale(seeds=1),
        "short": Scale(
            {"protocol": "clean", "data": "mnist", "image_size": 28, "train_size": 6000},
            {
                "classifier, *": {
                    "method": {
                        "network": {"width": 8},
                        "loss": "cross_entropy",
                        "drops": (),
                        "statistics": "range",
                    },
                    "epochs": 2,
                    "batch_size": 50,
                    "lr": 0.05,
                },
                "decoder, *": {"epochs": 3, "batch_size": 32, "lr": 1e-3, "keep_last": True},
            },
            seeds=1,
            minutes=0.35,
            note="6,000 digits at 28 pixels, width 8, 2 epochs of the classifier and 3 of the decoder.",
        ),
        "smoke": Scale(
            SMOKE,
            {"classifier, *": {"method": {"network": {"width": 4}, "statistics": "measured"}}},
            seeds=1,
        ),
    },
    draw=draw,
)
