"""A table of two tiny cells, one of which builds on the other."""

from __future__ import annotations

import pytest

from latentmix.tables.table import Cell, Column, Published, Scale, Table

TINY = {
    "image_size": 16,
    "train_size": 64,
    "batch_size": 16,
    "method": {"name": "autoencoder", "network": {"name": "conv", "width": 2}},
    "data": "digits",
    "epochs": 1,
}
CLASSIFIER = {
    **TINY,
    "method": {"name": "classifier", "network": {"name": "pre_act_res_net", "width": 2}},
}


@pytest.fixture
def table() -> Table:
    return Table(
        name="tiny",
        title="two cells",
        paper="no paper",
        columns=(
            Column("accuracy", "training", "test_probe_accuracy", "%"),
            Column("kNN", "knn", "knn_accuracy"),
        ),
        metrics=("knn.k=10",),
        cells=(
            Cell("a: one", TINY, {"accuracy": Published(12.5, 1.0, 3)}),
            Cell("a: two", {**TINY, "lr": 1e-4}, {"accuracy": Published(13.5)}),
            Cell("a: cited", None, {"accuracy": Published(14.5, 0.5, 5)}),
        ),
        scales={"paper": Scale(seeds=2), "smoke": Scale({"steps": 2}, seeds=1)},
    )


@pytest.fixture
def chain() -> Table:
    return Table(
        name="chain",
        title="a decoder of a classifier",
        paper="no paper",
        columns=(Column("error", "blend", "error"),),
        cells=(
            Cell(
                "decoder", {**TINY, "method": "hidden_decoder"}, start="classifier", metrics=("blend.n=20",)
            ),
            Cell("classifier", CLASSIFIER),
        ),
        scales={"paper": Scale(seeds=1)},
    )
