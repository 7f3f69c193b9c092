"""AMR, table 2: linear probes on SVHN with 1,000 to 20,000 training images."""

from latentmix.experiments.amr.systems import COLUMNS, RATES, SHORT, TINY, cell
from latentmix.tables.table import Scale, Table

# Rows of the paper, {images: (lambda, epochs of the script, mean, deviation)}.
PRINTED = {
    "AE+GAN": {
        1: (10, 6000, 22.71, 0.73),
        5: (10, 6000, 25.35, 0.44),
        10: (10, 6000, 26.18, 0.81),
        20: (20, 4000, 29.21, 1.01),
    },
    "AMR mixup 2": {
        1: (10, 6000, 21.89, 0.19),
        5: (20, 6000, 25.41, 1.15),
        10: (10, 6000, 30.87, 0.74),
        20: (10, 4000, 36.27, 3.76),
    },
    "AMR Bern 2": {
        1: (20, 6000, 22.59, 1.31),
        5: (20, 6000, 26.07, 1.87),
        10: (10, 6000, 30.12, 2.37),
        20: (10, 4000, 35.98, 0.56),
    },
    "AMR mixup 3": {
        1: (10, 6000, 22.96, 0.69),
        5: (10, 7000, 29.92, 3.37),
        10: (10, 6000, 31.87, 0.68),
        20: (10, 4000, 37.04, 2.32),
    },
    "ACAI": {
        1: (10, 6000, 24.15, 1.65),
        5: (10, 7000, 29.58, 1.08),
        10: (2, 6000, 29.56, 0.97),
        20: (5, 4000, 31.23, 0.31),
    },
}
CAPTION = {1: 6000, 5: 6000, 10: 6000, 20: 4000}
# Epochs between validations, {thousands of images: epochs}: all sizes have as many chances at the best one.
VALIDATE_EVERY = {1: 21, 5: 4, 10: 2, 20: 1}

TABLE = Table(
    name="amr-table2",
    title="accuracy of a linear probe on SVHN with fewer training images, codes of 32 numbers",
    paper="AMR, table 2",
    columns=COLUMNS,
    cells=tuple(
        cell(
            f"SVHN({size}k)",
            row,
            "svhn",
            lamb,
            epochs,
            mean,
            deviation,
            train_size=1000 * size,
            caption=CAPTION[size],
        )
        for size in CAPTION
        for row, of_row in PRINTED.items()
        for lamb, epochs, mean, deviation in [of_row[size]]
    ),
    scales={
        "paper": Scale(
            note="As published, all seeds train on the same first images, so that the deviations are those "
            "of the training alone."
        ),
        "short": Scale(
            {**SHORT, "steps": 1000},
            each={f"SVHN({size}k): *": {"validate_every": every} for size, every in VALIDATE_EVERY.items()},
            note=f"1,000 steps for every size; {RATES}; each seed draws its images.",
        ),
        "smoke": TINY,
    },
)
