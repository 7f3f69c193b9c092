"""Manifold Mixup, table 6 and section 4.4: mixup in GAN training."""

from __future__ import annotations

from typing import Any

from latentmix.tables.table import SMOKE, Cell, Column, Published, Scale, Table

COLUMNS = (
    Column("class score", "samples", "class_score"),
    Column("its deviation over 10 splits", "samples", "class_score_deviation"),
    Column("Frechet, training images", "samples", "frechet_train"),
    Column("Frechet, test images", "samples", "frechet_test"),
    Column("coverage", "samples", "coverage"),
    Column("variety", "samples", "variety"),
    Column("variety of neighbours", "samples", "variety_nearest"),
    Column("variety of classes", "samples", "variety_classes"),
)
GP: dict[str, Any] = {"penalty": 10}
HINGE: dict[str, Any] = {"loss": "hinge"}
FR: dict[str, Any] = {"mixing": "fr"}
FF: dict[str, Any] = {"mixing": "fr_ff"}
STEM: dict[str, Any] = {"mixing": "fr", "places": ["pixels", "stem"], "penalty": 0.5}
BLOCKS: dict[str, Any] = {"mixing": "fr", "places": ["pixels", "block1", "block2"], "form": "clean"}
# The nine systems that are compared at every scale, and the others of section 4.4.
SYSTEMS = {
    "GAN-GP": GP,
    "GAN-GP, FR": GP | FR,
    "GAN-GP, FR+FF": GP | FF,
    "SN-GAN": {},
    "SN-GAN, FR": FR,
    "SN-GAN, FR+FF": FF,
    "SN-GAN with hinge": HINGE,
    "SN-GAN with hinge, FR": HINGE | FR,
    "SN-GAN with hinge, FR+FF": HINGE | FF,
}
OTHERS = {
    "GAN-GP, FR in pixels or stem": STEM,
    "GAN-GP, FR in pixels or stem, all pairs": STEM | {"form": "clean"},
    "SN-GAN, FR in pixels or blocks": BLOCKS,
    "SN-GAN, FR in pixels or blocks, soft labels": BLOCKS | {"mix_labels": "soft"},
    "SN-GAN, equation 1": {"mixing": "pixels"},
}
# Inception score, its deviation over splits of 50,000 samples, Frechet distance; means of three runs.
PRINTED = {
    "GAN-GP": (7.30, 0.09, 30.2),
    "GAN-GP, FR": (7.34, 0.09, 28.0),
    "GAN-GP, FR+FF": (7.55, 0.08, 25.6),
    "SN-GAN": (7.94, 0.08, 21.7),
    "SN-GAN, FR": (8.00, 0.08, 21.5),
    "SN-GAN, FR+FF": (8.13, 0.10, 20.6),
    "SN-GAN with hinge": (7.97, 0.10, 22.2),
    "SN-GAN with hinge, FR": (7.92, 0.09, 22.6),
    "GAN-GP, FR in pixels or stem": (8.05, 0.06, 20.7),
}
# Of one run, estimated from its operations at 10^13 a second, which a test counts.
GPU_HOURS = {
    "GAN-GP": 6.1,
    "GAN-GP, FR": 7.3,
    "GAN-GP, FR+FF": 8.4,
    "SN-GAN": 3.0,
    "SN-GAN, FR": 4.2,
    "SN-GAN, FR+FF": 5.3,
    "SN-GAN with hinge": 3.2,
    "SN-GAN with hinge, FR": 4.3,
    "SN-GAN with hinge, FR+FF": 5.4,
    "GAN-GP, FR in pixels or stem": 8.1,
    "GAN-GP, FR in pixels or stem, all pairs": 8.1,
    "SN-GAN, FR in pixels or blocks": 3.7,
    "SN-GAN, FR in pixels or blocks, soft labels": 3.8,
    "SN-GAN, equation 1": 2.0,
}


def numbers(score: float, deviation: float | None, distance: float | None) -> dict[str, Published]:
    """Published numbers by their columns; no deviation over runs is published."""
    printed = zip(COLUMNS[:3], (score, deviation, distance))
    return {column.title: Published(number, None, 3) for column, number in printed if number is not None}


def published_run(system: str, method: dict[str, Any]) -> Cell:
    """A training on CIFAR-10 as published: 500 epochs, n_dis = 5 with spectral norm, 1 with the penalty."""
    return Cell(
        f"CIFAR-10: {system}",
        {
            "protocol": "paper",
            "method": {"name": "gan", **method},
            "data": "cifar10",
            "epochs": 500,
            "validate_every": 10,
        },
        numbers(*PRINTED[system]) if system in PRINTED else {},
        as_published=f"about {GPU_HOURS[system]} GPU hours, estimated at 10^13 operations a second",
    )


def small_run(group: str, data: str, system: str, method: dict[str, Any]) -> Cell:
    """The same system with small networks, one critic step for each step of the generator."""
    network = {"name": "gan_small", "width": 8, "spectral": "penalty" not in method}
    return Cell(
        f"{group}: {system}",
        {
            "method": {"name": "gan", "network": network, **method},
            "data": data,
            "image_size": 16,
            "epochs": 1,
            "batch_size": 32,
            "lr": 1e-3,
        },
    )


TABLE = Table(
    name="manifold-table6",
    title="mixup in GAN training",
    paper="Manifold Mixup, table 6",
    columns=COLUMNS,
    metrics=("samples.features=inception", "samples.n=50000", "samples.draws=1"),
    cells=(
        *(published_run(system, method) for system, method in {**SYSTEMS, **OTHERS}.items()),
        Cell("CIFAR-10: WGAN-GP", None, numbers(7.86, 0.08, None), note="Gulrajani et al., 2017"),
        Cell(
            "CIFAR-10: SN-GAN with hinge, Miyato et al.",
            None,
            numbers(8.22, 0.05, 21.7),
            note="Miyato et al., 2018",
        ),
        *(
            small_run(group, data, system, method)
            for group, data in (("MNIST", "mnist"), ("Fashion-MNIST", "fashion_mnist"))
            for system, method in SYSTEMS.items()
        ),
    ),
    scales={
        "paper": Scale(
            only=("CIFAR-10: *",),
            note="Inception of torchvision, where the published scores are of TensorFlow's; which images the "
            "published Frechet distances compare with is not known. The published deviations are "
            "over splits, not over runs.",
        ),
        "short": Scale(
            only=("MNIST: *", "Fashion-MNIST: *"),
            metrics=("samples.n=5000",),
            minutes=0.6,
            note="16 pixels, `gan_small` of width 8, one epoch (1,562 steps) of batches of 32, learning rate "
            "1e-3; scores of 5,000 samples by three small classifiers of the same data. One critic step for "
            "each step of the generator: with the published five, as many generator steps would cost about "
            "four times as much.",
        ),
        "smoke": Scale(
            {**SMOKE, "train_size": 160, "method": {"network": {"width": 2}}},
            only=("MNIST: GAN-GP", "MNIST: SN-GAN with hinge, FR", "MNIST: SN-GAN, FR+FF"),
            seeds=1,
            metrics=("samples.n=150", "samples.draws=1"),
        ),
    },
)
