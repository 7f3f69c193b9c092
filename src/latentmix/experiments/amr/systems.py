"""The systems of AMR's tables as settings of a run."""

from __future__ import annotations

from typing import Any

from latentmix.tables.table import SMOKE, Cell, Column, Published, Scale

COLUMNS = (
    Column(
        "accuracy",
        "training",
        "valid_probe_accuracy",
        "%",
        about="of validation images, in the best of all epochs; this is what the paper reports",
    ),
    Column(
        "test accuracy",
        "training",
        "test_probe_accuracy",
        "%",
        about="of test images, in the epoch with the best validation accuracy; not in the paper",
    ),
)
# Short trainings take one rate for all cells. At the networks' own rate the online probe lags behind the
# codes, hence its tenfold one.
SHORT: dict[str, Any] = {
    "protocol": "clean",
    "lr": 1e-3,
    "probe_lr": 1e-2,
    "schedule": "cosine",
    "precision": "auto",
}
RATES = "clean protocol, learning rate 1e-3 and 1e-2 for the probe, both falling to zero as a cosine"
TINY = Scale({**SMOKE, "method": {"network": {"width": 4}}}, seeds=1)
ROWS = {
    "AE+GAN": ("ae_gan", "", 0),
    "AMR mixup 2": ("amr", "mixup", 2),
    "AMR Bern 2": ("amr", "bernoulli", 2),
    "AMR mixup 3": ("amr", "mixup", 3),
    "AMR Bern 3": ("amr", "bernoulli", 3),
    "AMR mixup 4": ("amr", "mixup", 4),
    "AMR mixup 6": ("amr", "mixup", 6),
    "AMR mixup 8": ("amr", "mixup", 8),
    "ACAI": ("acai_of_amr", "mixup", 2),
}


def method(row: str, lamb: float, d_h: int = 32) -> dict[str, Any]:
    """The method of a row of the tables, with its lambda and size of the code."""
    name, mixer, k = ROWS[row]
    mixing = {"mixer": {"name": mixer, "k": k}} if mixer else {}
    return {"name": name, **mixing, "lamb": lamb, "network": {"name": "conv", "d_h": d_h}}


def cell(
    group: str,
    row: str,
    data: str,
    lamb: float,
    epochs: int,
    mean: float | None = None,
    deviation: float | None = None,
    *,
    d_h: int = 32,
    train_size: int | None = None,
    caption: int | None = None,
    note: str = "",
) -> Cell:
    """A cell of tables 1 to 3.

    Arguments:
        group: Name of the column in the paper.
        epochs: Number of epochs in the published script.
        mean, deviation: As published, in percent, over three runs.
        caption: Number of epochs in the table's caption; a difference from the script's is noted.
    """
    size = {} if train_size is None else {"train_size": train_size}
    settings = {"protocol": "paper", "method": method(row, lamb, d_h), "data": data, "epochs": epochs, **size}
    differs = caption is not None and caption != epochs
    of_script = f"the caption has {caption} epochs, the published script {epochs}" if differs else ""
    published = {} if mean is None else {"accuracy": Published(mean, deviation, 3)}
    return Cell(f"{group}: {row}", settings, published, note=note, as_published=of_script)


def cited(group: str, mean: float, deviation: float) -> Cell:
    """The accuracy that ACAI's own paper reports, which AMR's tables cite."""
    note = "from ACAI's paper, in another set-up: median of the last 20 epochs, over 5 seeds"
    return Cell(f"{group}: ACAI, its own paper", None, {"accuracy": Published(mean, deviation, 5)}, note=note)
