"""AMR, figure 6: walks between house numbers by AE+GAN, AMR of two and AMR of three."""

from latentmix.experiments.amr import table1
from latentmix.experiments.amr.systems import COLUMNS, RATES, SHORT, TINY
from latentmix.experiments.amr.walks import drawn
from latentmix.tables.table import Scale, Table

ROWS = ("SVHN: AE+GAN", "SVHN: AMR mixup 2", "SVHN: AMR mixup 3")

TABLE = Table(
    name="amr-figure6",
    title="walks between house numbers, by the networks of table 1",
    paper="AMR, figure 6",
    columns=COLUMNS,
    cells=tuple(cell for cell in table1.TABLE.cells if cell.name in ROWS),
    scales={
        "paper": Scale(seeds=1),
        "short": Scale({**SHORT, "epochs": 10}, seeds=1, note=f"Ten epochs; {RATES}."),
        "smoke": TINY,
    },
    draw=drawn("mixup"),
)
