"""Manifold Mixup, table 7: networks of CIFAR-100 on images that are turned, sheared and scaled."""

from latentmix.experiments.manifold_mixup.classifiers import PAPER, TINY, training
from latentmix.tables.table import Cell, Column, Published, Scale, Table

SMOKE = Scale(TINY.change, seeds=1, metrics=("robustness.n=20", "robustness.n_pgd=2"))

MIXINGS = ("no mixup", "input mixup", "input mixup (alpha = 2)", "Manifold Mixup")
# Accuracy in percent; angles of shear are printed in degrees and drawn in radians.
PRINTED = {
    "rotation_20": (52.96, 55.55, 56.48, 60.08),
    "rotation_40": (33.82, 37.73, 36.78, 42.13),
    "rotation_60": (26.77, 28.47, 27.53, 33.78),
    "rotation_80": (24.19, 26.72, 25.34, 29.95),
    "shear_0.5": (55.92, 58.16, 60.01, 62.85),
    "shear_1": (35.66, 39.34, 39.7, 44.27),
    "shear_2": (19.57, 22.94, 22.8, 24.69),
    "shear_2.5": (17.55, 21.66, 21.22, 23.56),
    "shear_3": (22.38, 25.53, 25.27, 28.02),
    "zoom_0.2": (2.43, 1.9, 2.45, 2.03),
    "zoom_0.4": (4.97, 4.47, 5.23, 4.17),
    "zoom_0.6": (12.68, 13.75, 13.12, 11.49),
    "zoom_0.8": (47.95, 52.18, 50.47, 52.7),
    "zoom_1.2": (43.18, 60.02, 61.62, 63.59),
    "zoom_1.4": (19.34, 41.81, 42.02, 45.29),
    "zoom_1.6": (11.12, 25.48, 25.85, 27.02),
    "zoom_1.8": (7.98, 18.11, 18.02, 15.68),
}


def table(number: int, rows: tuple[str, ...]) -> Table:
    """Table 7, or table 3, which has some of its rows."""
    return Table(
        name=f"manifold-table{number}",
        title="test accuracy under deformations, PreActResNet34 on CIFAR-100",
        paper=f"Manifold Mixup, table {number}",
        columns=tuple(Column(row.replace("_", " "), "robustness", row, "%") for row in rows),
        metrics=("robustness.n=10000",),
        checkpoint="best",
        cells=tuple(
            Cell(
                mixing,
                training("cifar100", mixing, 34),
                {row.replace("_", " "): Published(PRINTED[row][i]) for row in rows},
            )
            for i, mixing in enumerate(MIXINGS)
        ),
        scales={"paper": PAPER, "smoke": SMOKE},
    )


TABLE = table(7, tuple(PRINTED))
