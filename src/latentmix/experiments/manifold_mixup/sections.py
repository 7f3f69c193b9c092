"""Manifold Mixup, sections 4.1 and 4.2: blocked gradients, and 4,000 labels without further images."""

from latentmix.experiments.manifold_mixup.classifiers import COLUMNS, PAPER, TINY, training
from latentmix.tables.table import Cell, Published, Table

TABLE = Table(
    name="manifold-sections",
    title="blocked gradients and few labels, CIFAR-10",
    paper="Manifold Mixup, sections 4.1 and 4.2",
    columns=COLUMNS,
    cells=(
        *(
            Cell(
                f"gradient blocked, {epochs} epochs",
                training("cifar10", "Manifold Mixup", epochs=epochs, detach=True),
                {"accuracy": Published(mean)},
                as_published="the paper does not say when the learning rate drops" if epochs == 400 else "",
            )
            for epochs, mean in ((400, 95.14), (1200, 95.67))
        ),
        Cell(
            "4,000 labels, PreActResNet152",
            training("cifar10", "Manifold Mixup", 152) | {"labelled": 4000},
            {"accuracy": Published(86.36)},
            as_published="the paper states neither alpha nor the number of epochs",
        ),
    ),
    scales={"paper": PAPER, "smoke": TINY},
)
