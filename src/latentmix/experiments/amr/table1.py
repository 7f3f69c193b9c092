"""AMR, table 1: linear probes on codes of 32 numbers, for MNIST, KMNIST and SVHN."""

from latentmix.experiments.amr.systems import COLUMNS, RATES, SHORT, TINY, cell, cited
from latentmix.tables.table import Scale, Table

SWAPPED = "the names of the published scripts swap lambda 2 and 10; this is what the table prints"

TABLE = Table(
    name="amr-table1",
    title="accuracy of a linear probe, codes of 32 numbers",
    paper="AMR, table 1",
    columns=COLUMNS,
    cells=(
        cell("MNIST", "AE+GAN", "mnist", 5, 2000, 97.52, 0.29),
        cell("MNIST", "AMR mixup 2", "mnist", 10, 2000, 98.01, 0.10),
        cell("MNIST", "AMR Bern 2", "mnist", 10, 2000, 97.76, 0.58),
        cell("MNIST", "AMR mixup 3", "mnist", 20, 2000, 97.61, 0.15),
        cell("MNIST", "ACAI", "mnist", 2, 2000, 98.66, 0.36),
        cited("MNIST", 98.25, 0.11),
        cell("KMNIST", "AE+GAN", "kmnist", 10, 5000, 76.18, 1.79),
        cell("KMNIST", "AMR mixup 2", "kmnist", 10, 6000, 80.39, 3.11, caption=5000),
        cell("KMNIST", "AMR Bern 2", "kmnist", 10, 6000, 81.54, 3.46, caption=5000),
        cell("KMNIST", "AMR mixup 3", "kmnist", 10, 6000, 77.20, 0.43, caption=5000),
        cell("KMNIST", "ACAI", "kmnist", 10, 6000, 84.67, 1.16, caption=5000, note=SWAPPED),
        cell("SVHN", "AE+GAN", "svhn", 5, 4500, 37.01, 2.22),
        cell("SVHN", "AMR mixup 2", "svhn", 10, 6000, 43.98, 3.05, caption=4500),
        cell("SVHN", "AMR Bern 2", "svhn", 10, 4500, 38.31, 2.68),
        cell("SVHN", "AMR mixup 3", "svhn", 10, 6000, 47.34, 3.79, caption=4500),
        cell("SVHN", "ACAI", "svhn", 2, 6000, 34.74, 1.12, caption=4500),
        cited("SVHN", 34.47, 1.14),
        # Not in the paper, which has masks of three parents in table 4 alone.
        *(
            cell(group, "AMR Bern 3", data, 10, 2000, note="not in the paper")
            for group, data in (("MNIST", "mnist"), ("KMNIST", "kmnist"))
        ),
    ),
    scales={
        "paper": Scale(),
        "short": Scale(
            {**SHORT, "steps": 7810},
            each={"KMNIST: *": {"steps": 4000, "validate_every": 4}},
            only=("MNIST: A[EM]*", "MNIST: ACAI", "KMNIST: A[EM]*", "KMNIST: ACAI"),
            note="MNIST: 7,810 steps, which are ten epochs; KMNIST: 4,000 steps, which are five epochs of the"
            f" whole set; {RATES}; no SVHN.",
        ),
        "smoke": TINY,
    },
)
