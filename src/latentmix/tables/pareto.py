"""A picture of methods as points in the planes of every two measures; the Pareto front is filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev

from latentmix.tables.pairs import Values


def draw(values: Values, front: Sequence[str], path: Path) -> None:
    """Draw means with standard deviations over seeds, one panel for every two measures.

    Arguments:
        values: Values of the methods; those that are None are left out.
        front: Methods that are drawn filled.
        path: File to write.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    panels = list(combinations(values, 2))
    methods = list(dict.fromkeys(method for by_method in values.values() for method in by_method))
    figure = Figure(figsize=(4.6 * len(panels), 4.8), layout="constrained")
    for axis, (x, y) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        for i, method in enumerate(methods):
            colour = colormaps["tab10"](i % 10)
            (mean_x, wide), (mean_y, high) = (_spread(values[m], method) for m in (x, y))
            axis.errorbar(
                mean_x,
                mean_y,
                xerr=wide,
                yerr=high,
                fmt="osD^v<>"[i // 10 % 7],
                markersize=8,
                capsize=3,
                color=colour,
                markerfacecolor=colour if method in front else "white",
                label=method,
            )
        axis.set(xlabel=x, ylabel=y)
        axis.grid(color="#e2e5ea")
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=min(4, len(methods)), frameon=False)
    figure.suptitle("Filled: no other method is better in one measure without being worse in another")
    figure.savefig(path, dpi=100)


def _spread(by_method: Mapping[str, Sequence[float | None]], method: str) -> tuple[float, float]:
    known = [v for v in by_method.get(method, ()) if v is not None]
    return (fmean(known) if known else float("nan")), (stdev(known) if len(known) > 1 else 0.0)
