"""AMR, table 3: linear probes on larger codes, for SVHN and CIFAR-10."""

from latentmix.experiments.amr.systems import COLUMNS, RATES, SHORT, TINY, cell, cited
from latentmix.tables.table import Scale, Table

# {column of the paper: (data, size of the code, epochs of the caption, rows)}, each row as in table 2.
PRINTED = {
    "SVHN (256)": (
        "svhn",
        256,
        4000,
        {
            "AE+GAN": (5, 6000, 59.00, 0.12),
            "AMR mixup 2": (5, 6000, 71.51, 1.35),
            "AMR Bern 2": (10, 4500, 58.64, 2.18),
            "AMR mixup 3": (5, 4500, 73.33, 3.23),
            "AMR mixup 4": (5, 4500, 74.69, 1.11),
            "AMR mixup 6": (5, 6000, 73.85, 0.84),
            "AMR mixup 8": (5, 4500, 75.71, 1.29),
            "ACAI": (2, 4500, 68.64, 1.50),
        },
    ),
    "CIFAR10 (256)": (
        "cifar10",
        256,
        3000,
        {
            "AE+GAN": (50, 3000, 53.08, 0.28),
            "AMR mixup 2": (50, 3000, 54.24, 0.42),
            "AMR Bern 2": (50, 3000, 52.40, 0.51),
            "AMR mixup 3": (50, 3000, 54.94, 0.37),
            "AMR mixup 4": (50, 3000, 54.68, 0.33),
            "AMR mixup 6": (50, 3000, 52.95, 0.92),
            "AMR mixup 8": (50, 3000, 53.07, 1.04),
            "ACAI": (20, 3000, 50.06, 1.33),
        },
    ),
    "CIFAR10 (1024)": (
        "cifar10",
        1024,
        8000,
        {
            "AE+GAN": (50, 8000, 59.93, 0.60),
            "AMR mixup 2": (50, 8000, 60.80, 0.79),
            "AMR Bern 2": (50, 8000, 59.81, 0.56),
            "AMR mixup 3": (50, 8000, 61.68, 0.67),
            "AMR mixup 4": (50, 8000, 61.72, 0.20),
            "AMR mixup 6": (50, 8000, 60.34, 0.82),
            "AMR mixup 8": (50, 8000, 59.75, 1.04),
            "ACAI": (20, 8000, 57.42, 1.29),
        },
    ),
}

TABLE = Table(
    name="amr-table3",
    title="accuracy of a linear probe, codes of 256 and 1,024 numbers",
    paper="AMR, table 3",
    columns=COLUMNS,
    cells=(
        *(
            cell(group, row, data, lamb, epochs, mean, deviation, d_h=d_h, caption=caption)
            for group, (data, d_h, caption, of_group) in PRINTED.items()
            for row, (lamb, epochs, mean, deviation) in of_group.items()
        ),
        cited("SVHN (256)", 85.14, 0.20),
        cited("CIFAR10 (256)", 52.77, 0.45),
        cited("CIFAR10 (1024)", 63.99, 0.47),
    ),
    scales={
        "paper": Scale(),
        "short": Scale(
            {**SHORT, "epochs": 10},
            only=("CIFAR10 (256): *",),
            note=f"Ten epochs; {RATES}; CIFAR-10 with codes of 256 alone.",
        ),
        "smoke": TINY,
    },
)
