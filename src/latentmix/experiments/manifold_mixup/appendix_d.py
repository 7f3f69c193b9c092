"""Manifold Mixup, appendix D: an unbounded search by projected gradient, against masked gradients."""

from latentmix.experiments.manifold_mixup.classifiers import PAPER, TINY, training
from latentmix.tables.table import Cell, Column, Published, Scale, Table

PGD = "PGD, 200 steps of 0.01"
TABLE = Table(
    name="manifold-appendix-d",
    title="test accuracy under an unbounded search by projected gradient",
    paper="Manifold Mixup, appendix D",
    columns=(Column(PGD, "attacks", "pgd", "%"),),
    metrics=("attacks.n=1000", "attacks.pgd_steps=200"),
    checkpoint="best",
    cells=tuple(
        Cell(mixing, training("cifar10", mixing), {PGD: Published(mean)})
        for mixing, mean in (("input mixup", 1.0), ("Manifold Mixup", 0.0))
    ),
    scales={
        "paper": PAPER,
        "smoke": Scale(TINY.change, seeds=1, metrics=("attacks.n=20", "attacks.pgd_steps=2")),
    },
)
