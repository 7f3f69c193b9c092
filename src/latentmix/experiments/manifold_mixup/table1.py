"""Manifold Mixup, table 1: CIFAR-10."""

from latentmix.experiments.manifold_mixup.classifiers import COLUMNS, PAPER, TINY, cell
from latentmix.tables.table import Cell, Published, Table

TABLE = Table(
    name="manifold-table1",
    title="test accuracy and NLL on CIFAR-10",
    paper="Manifold Mixup, table 1",
    columns=COLUMNS,
    cells=(
        cell("cifar10", "no mixup", 18, 94.88, 0.2646),
        Cell("PreActResNet18: input mixup, Zhang et al.", None, {"accuracy": Published(96.10)}),
        cell("cifar10", "input mixup", 18, 96.498, 0.1945),
        cell("cifar10", "Manifold Mixup", 18, 97.104, 0.1407),
        cell("cifar10", "no mixup", 152, 95.797, 0.1994),
        cell("cifar10", "input mixup", 152, 96.844, 0.2312),
        cell("cifar10", "Manifold Mixup", 152, 97.238, 0.1419),
        cell("cifar10", "Manifold Mixup, all layers", 152, 97.622, 0.0957),
    ),
    scales={"paper": PAPER, "smoke": TINY},
)
