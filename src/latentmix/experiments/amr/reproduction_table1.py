"""The table of the report that reproduced AMR: two mixers, three data sets, another learning rate."""

from latentmix.experiments.amr.systems import COLUMNS, TINY, method
from latentmix.tables.table import Cell, Published, Scale, Table

# {data: {row: accuracy}}; the deviations of SVHN are the largest variation after the curve is flat.
PRINTED = {
    "MNIST": ("mnist", None, {"AMR mixup 2": 94.38, "AMR Bern 2": 94.66}),
    "SVHN": ("svhn", 1000, {"AMR mixup 2": 21.58, "AMR Bern 2": 21.55}),
    "KMNIST": ("kmnist", None, {"AMR mixup 2": 67.92, "AMR Bern 2": 65.64}),
}
VARIATION = {"AMR mixup 2": 0.98, "AMR Bern 2": 0.23}

TABLE = Table(
    name="amr-reproduction-table1",
    title="accuracy of a linear probe in the reproduction report, lambda 10, codes of 32 numbers",
    paper="Re: Adversarial Mixup Resynthesis, table 1",
    columns=COLUMNS,
    cells=tuple(
        Cell(
            f"{group}: {row}",
            {
                "protocol": "paper",
                "method": method(row, 10),
                "data": data,
                "epochs": 2000,
                "lr": 1e-2,
                "schedule": "step",
                "drops": [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6],
                "betas": [0.9, 0.999],
                "weight_decay": 0.0,
                **({} if size is None else {"train_size": size}),
            },
            {"accuracy": Published(mean)},
            note=f"printed with ± {VARIATION[row]}, which is no deviation over runs; the text says SVHN(1k)"
            if size
            else "",
        )
        for group, (data, size, of_group) in PRINTED.items()
        for row, mean in of_group.items()
    ),
    scales={
        "paper": Scale(
            seeds=1,
            note="Learning rate 0.01, divided by ten five times down to 1e-7, as the report says; it does "
            "not say when, and its code has no schedule. Optimisers are those of its code. Its number of "
            "epochs is not known; 2,000 is the default of its code.",
        ),
        "short": Scale({"epochs": 10}, only=("MNIST*",), seeds=1, note="Ten epochs of MNIST."),
        "smoke": TINY,
    },
)
