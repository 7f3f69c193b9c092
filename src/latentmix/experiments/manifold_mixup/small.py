"""Tables 1, 3, 5 and 7 and figure 1 of Manifold Mixup in the small: one study of nine trainings."""

from latentmix.experiments.manifold_mixup.classifiers import COLUMNS, LAYERS, TINY
from latentmix.experiments.manifold_mixup.figure1 import BETWEEN, PLACES_OPTION, draw
from latentmix.tables.table import Cell, Column, Scale, Table

SHOWN = ("rotation_20", "rotation_60", "shear_0.5", "shear_1", "zoom_0.8", "zoom_1.4")
# As published: depth, momentum, decay, crops, alphas. Cut to the budget: width, images, epochs and their
# drops, and with the smaller batch the learning rate. One loss for all.
# Section 3 expects mixing to complement dropout and does not test it; 0.3 is that of the few-label networks.
DROPOUT = {"dropout": 0.3}
SETTINGS = {
    "data": "cifar10",
    "train_size": 10_000,
    "epochs": 9,
    "batch_size": 64,
    "lr": 0.05,
    "keep_last": True,
    "crop": 4,
    "flip": True,
}

TABLE = Table(
    name="manifold-small",
    title="accuracy, deformations, attacks and the loss between images, a narrow network on CIFAR-10",
    paper="Manifold Mixup, tables 1, 3, 5, 7 and figure 1 in the small",
    columns=(
        *COLUMNS[2:],
        *(Column(row.replace("_", " "), "robustness", row, "%") for row in SHOWN),
        Column("FGSM 0.03", "robustness", "fgsm", "%"),
        Column("FGSM 8/255, pixels", "robustness", "fgsm_pixels", "%"),
        *BETWEEN,
    ),
    metrics=("robustness", PLACES_OPTION),
    checkpoint="last",
    cells=tuple(
        Cell(
            f"{mixing}, dropout" if dropout else mixing,
            {
                "method": {
                    "name": "classifier",
                    "network": {"name": "pre_act_res_net", "depth": 18, "width": 8, **dropout},
                    "layers": LAYERS[mixing][0],
                    "alpha": LAYERS[mixing][1],
                    "loss": "cross_entropy",
                    "drops": (6 / 9, 8 / 9),
                },
                **SETTINGS,
            },
        )
        for dropout, mixings in (
            ({}, ("no mixup", "input mixup", "Manifold Mixup")),
            (DROPOUT, ("no mixup", "Manifold Mixup")),
        )
        for mixing in mixings
    ),
    scales={
        "short": Scale(minutes=3, note="Width 8, 10,000 training images, 9 epochs of 64."),
        "smoke": Scale(
            TINY.change,
            seeds=1,
            metrics=(
                *("robustness.n=20", "robustness.n_pgd=2"),
                *("interpolation.n=20", "interpolation.steps=3", PLACES_OPTION),
            ),
        ),
    },
    draw=draw,
)
