"""Manifold Mixup, table 2: CIFAR-100."""

from latentmix.experiments.manifold_mixup.classifiers import COLUMNS, PAPER, TINY, cell
from latentmix.tables.table import Cell, Published, Table

TABLE = Table(
    name="manifold-table2",
    title="test accuracy and NLL on CIFAR-100",
    paper="Manifold Mixup, table 2",
    columns=COLUMNS,
    cells=(
        Cell("PreActResNet18: no mixup, Zhang et al.", None, {"accuracy": Published(74.4)}),
        cell("cifar100", "no mixup", 18, 75.32, 1.284),
        Cell("PreActResNet18: input mixup, Zhang et al.", None, {"accuracy": Published(78.9)}),
        cell("cifar100", "Manifold Mixup", 18, 78.95, 0.913),
        cell("cifar100", "input mixup", 34, 77.208, 1.085),
        cell("cifar100", "Manifold Mixup", 34, 79.609, 0.930),
    ),
    scales={"paper": PAPER, "smoke": TINY},
)
