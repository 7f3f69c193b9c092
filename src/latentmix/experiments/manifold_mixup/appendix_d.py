"""Manifold Mixup, appendix D: an unbounded search by projected gradient, against masked gradients."""

from latentmix.experiments.manifold_mixup.classifiers import PAPER, TINY, training
from latentmix.tables.table import Cell, Column, Published, Scale, Table

PGD = "PGD, 200 steps of 0.01"
TABLE = Table(
    name="manifold-appendix-d",
    title="test accuracy under an unbounded search by projected gradient",
    paper="Manifold Mixup, appendix D",
    columns=(Column(PGD, "robustness", "pgd", "%"),),
    metrics=("robustness.n=1000", "robustness.n_pgd=1000"),
    checkpoint="best",
    cells=tuple(
        Cell(mixing, training("cifar10", mixing), {PGD: Published(mean)})
        for mixing, mean in (("input mixup", 1.0), ("Manifold Mixup", 0.0))
    ),
    scales={
        "paper": PAPER,
        "smoke": Scale(TINY.change, seeds=1, metrics=("robustness.n=20", "robustness.n_pgd=2")),
    },
)
