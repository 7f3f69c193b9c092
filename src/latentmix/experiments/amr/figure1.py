"""AMR, figure 1: the gradual mixing of two real shoes, by AMR of figure 7."""

from dataclasses import replace

from latentmix.experiments.amr import figure7
from latentmix.experiments.amr.walks import drawn

TABLE = replace(
    figure7.TABLE,
    name="amr-figure1",
    title="gradual mixing of two real shoes, by AMR of figure 7",
    paper="AMR, figure 1",
    cells=tuple(cell for cell in figure7.TABLE.cells if cell.name == "AMR mixup 2"),
    draw=drawn("mixup"),
)
