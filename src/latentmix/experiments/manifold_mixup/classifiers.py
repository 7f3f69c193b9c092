"""The classifiers of Manifold Mixup's tables as settings of a run."""

from __future__ import annotations

from typing import Any

from latentmix.tables.table import SMOKE, Cell, Column, Published, Scale

LAYERS = {
    "no mixup": ("none", 2.0),
    "input mixup": ("input", 1.0),
    "input mixup (alpha = 2)": ("input", 2.0),
    "Manifold Mixup": ("input,layer1,layer2", 2.0),
    "Manifold Mixup, all layers": ("input,layer1,layer2,layer3", 6.0),
}
# The paper reports the best test accuracy of all epochs; here validation images choose the epoch.
COLUMNS = (
    Column("accuracy", "training", "test_accuracy", "%"),
    Column("NLL", "training", "test_nll"),
    Column("accuracy, last epoch", "training", "last_test_accuracy", "%"),
    Column("NLL, last epoch", "training", "last_test_nll"),
)
PAPER = Scale(
    seeds=1,
    note="40,000 training images and 10,000 to choose the epoch; the published networks learn from 50,000, "
    "and test images choose the epoch. Published are single runs. The published code trains plain networks by "
    "cross-entropy and mixed ones by binary cross-entropy.",
)
TINY = Scale(
    {**SMOKE, "method": {"network": {"depth": 18, "width": 2}, "statistics": "measured"}, "labelled": None},
    seeds=1,
)


def training(data: str, mixing: str, depth: int = 18, epochs: int = 1200, **options: Any) -> dict[str, Any]:
    """1,200 epochs of a PreActResNet of full width, mixed as a key of `LAYERS` says."""
    layers, alpha = LAYERS[mixing]
    method = {
        "name": "classifier",
        "network": {"name": "pre_act_res_net", "depth": depth},
        "layers": layers,
        "alpha": alpha,
        "statistics": data,
        **options,
    }
    return {"protocol": "paper", "method": method, "data": data, "epochs": epochs}


def cell(
    data: str,
    mixing: str,
    depth: int = 18,
    accuracy: float | None = None,
    nll: float | None = None,
    *,
    note: str = "",
) -> Cell:
    """A row of tables 1 and 2, with the published accuracy in percent and negative log-likelihood."""
    printed = {"accuracy": accuracy, "NLL": nll}
    published = {title: Published(number) for title, number in printed.items() if number is not None}
    return Cell(f"PreActResNet{depth}: {mixing}", training(data, mixing, depth), published, note=note)
