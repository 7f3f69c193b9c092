"""The question of AMR's table 2, asked of CIFAR-10: linear probes with 1,000 to 20,000 training images."""

from dataclasses import replace

from latentmix.experiments.amr.systems import COLUMNS, RATES, SHORT, TINY, cell
from latentmix.experiments.amr.table2 import PRINTED, VALIDATE_EVERY
from latentmix.tables.table import Scale, Table

TABLE = Table(
    name="amr-table2-cifar10",
    title="accuracy of a linear probe on CIFAR-10 with fewer training images, codes of 32 numbers",
    paper="not of a paper, after AMR, table 2",
    columns=COLUMNS,
    cells=tuple(
        # Each lambda is the one that the paper has for as many images of SVHN: none was searched for here.
        cell(f"CIFAR-10({size}k)", row, "cifar10", lamb, epochs, train_size=1000 * size)
        for size in (1, 5, 10, 20)
        for row, of_row in PRINTED.items()
        for lamb, epochs, _, _ in [of_row[size]]
    ),
    scales={
        "short": Scale(
            {**SHORT, "steps": 1000},
            each={f"CIFAR-10({size}k): *": {"validate_every": n} for size, n in VALIDATE_EVERY.items()},
            note=f"1,000 steps for every size; {RATES}; each seed draws its images; lambda as for SVHN.",
        ),
        "smoke": replace(TINY, only=("CIFAR-10(1k): *",)),
    },
)
