"""Manifold Mixup, table 8: mixing true factors against mixing pixels, on glyphs at new angles."""

from latentmix.tables.table import Cell, Column, Published, Scale, Table

MIXINGS = {"no mixup": "none", "mixed pixels": "input", "mixed factors": "factor"}
# Accuracy in percent and negative log-likelihood on the test angles; one run each.
PRINTED = {
    "A": ((1.6, 8.8310), (0.0, 6.0601), (94.77, 0.4940)),
    "B": ((21.25, 7.0026), (18.40, 4.3149), (84.02, 0.4572)),
    "C": ((63.05, 4.2871), (66.09, 1.4181), (99.06, 0.1279)),
}

TABLE = Table(
    name="manifold-table8",
    title="accuracy and NLL on turned glyphs, by what is mixed",
    paper="Manifold Mixup, table 8",
    columns=(
        Column("accuracy", "training", "last_test_accuracy", "%"),
        Column("NLL", "training", "last_test_nll"),
    ),
    cells=tuple(
        Cell(
            f"task {task}: {name}",
            {
                "protocol": "paper",
                "method": {"name": "factor_mixing", "mixing": mixing},
                "data": {"name": "turned_glyphs", "task": task, "images": 128_000},
                "steps": 1000,
            },
            {"accuracy": Published(accuracy), "NLL": Published(nll)},
        )
        for task, of_task in PRINTED.items()
        for (name, mixing), (accuracy, nll) in zip(MIXINGS.items(), of_task)
    ),
    scales={
        "paper": Scale(
            seeds=1,
            note="1,000 steps of 128, each image seen once; the published code draws both images of a pair "
            "anew, here they are of one batch. One run each, as published.",
        ),
        "short": Scale(
            {
                "protocol": "clean",
                "data": {"images": 20_000},
                "image_size": 64,
                "steps": 150,
                "lr": 3e-3,
                "schedule": "linear",
            },
            minutes=2,
            note="150 steps of 128 at a rate that falls from 3e-3 to zero.",
        ),
        "smoke": Scale({"steps": 2, "batch_size": 16}, seeds=1),
    },
)
