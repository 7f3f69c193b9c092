"""AMR and what it is compared with, on several data sets, by every metric; not of a paper.

Every system sees the same number of images at 16 pixels, with the same network and reconstruction loss.
"""

from __future__ import annotations

from typing import Any

from latentmix.tables.table import SMOKE, Cell, Column, Scale, Table

IMAGES = 24_000  # each system sees so many in training
SPRITES: dict[str, Any] = {
    "data": {"name": "sprites", "images": 20_000},
    "hold_out": {"scale": [3, 4, 5], "x": list(range(16, 32))},  # large shapes on the right
}
# {name: (settings, training images)}
DATA: dict[str, tuple[dict[str, Any], int]] = {
    "sprites": (SPRITES, 6000),
    "MNIST": ({"data": "mnist"}, 6000),
    "Fashion-MNIST": ({"data": "fashion_mnist"}, 6000),
    "MNIST-M": ({"data": "mnist_m"}, 1600),
}
SYSTEMS: dict[str, dict[str, Any]] = {
    "AE": {"name": "autoencoder"},
    "VAE": {"name": "vae"},
    "AE+GAN": {"name": "ae_gan"},
    "ACAI (as AMR ran it)": {"name": "acai_of_amr"},
    "AMR mixup 2": {"name": "amr", "mixer": {"name": "mixup", "k": 2}},
    "AMR mixup 3": {"name": "amr", "mixer": {"name": "mixup", "k": 3}},
    "AMR Bernoulli 2": {"name": "amr", "mixer": {"name": "bernoulli", "k": 2}},
    "AMR Bernoulli 3": {"name": "amr", "mixer": {"name": "bernoulli", "k": 3}},
}
# Cheaper than the defaults, because there are many runs on a processor; each protocol says so.
METRICS = (
    "probe",
    "knn",
    "deep_probe.steps=1000",
    "few_labels.draws=3",
    "clusters.restarts=5",
    "frechet.n=1000",
    "honesty",
    "path",
    "reconstruction",
)
FACTORS = ("disentanglement.fast=true", "composition.n=1000")
COLUMNS = {
    "online": ("training", "test_probe_accuracy"),
    "offline": ("probe", "offline_accuracy"),
    "kNN": ("knn", "knn_accuracy"),
    "deep": ("deep_probe", "deep_accuracy"),
    "100 labels": ("few_labels", "accuracy_100"),
    "1,000 labels": ("few_labels", "accuracy_1000"),
    "clusters": ("clusters", "cluster_accuracy"),
    "NMI": ("clusters", "nmi"),
    "ARI": ("clusters", "ari"),
    "Frechet": ("frechet", "frechet"),
    "Frechet, reconstructions": ("frechet", "frechet_reconstruction"),
    "kernel": ("frechet", "kernel"),
    "precision": ("frechet", "precision"),
    "recall": ("frechet", "recall"),
    "density of sets": ("frechet", "density"),
    "coverage": ("frechet", "coverage"),
    "class score": ("frechet", "class_score"),
    "density": ("honesty", "density"),
    "realistic": ("honesty", "realistic"),
    "ghosting": ("honesty", "ghosting"),
    "collapse": ("honesty", "collapse"),
    "confidence": ("honesty", "confidence"),
    "memory": ("honesty", "memory"),
    "variety": ("honesty", "variety"),
    "variety of mixes": ("honesty", "variety_mixes"),
    "recognised": ("honesty", "recognised"),
    "MSE": ("reconstruction", "mse"),
    "PSNR": ("reconstruction", "psnr"),
    "SSIM": ("reconstruction", "ssim"),
    "length": ("path", "length"),
    "peak": ("path", "peak"),
    "FactorVAE": ("disentanglement", "factor_vae_eval_accuracy"),
    "AMR's variant": ("disentanglement", "factor_vae_published"),
    "beta-VAE": ("disentanglement", "beta_vae_eval_accuracy"),
    "MIG": ("disentanglement", "discrete_mig"),
    "SAP": ("disentanglement", "SAP_score"),
    "DCI d": ("disentanglement", "disentanglement"),
    "DCI c": ("disentanglement", "completeness"),
    "modularity": ("disentanglement", "modularity_score"),
    "reached": ("composition", "reached"),
    "reached and real": ("composition", "reached_and_real"),
    "reached once on the walk": ("composition", "reached_once"),
    "reached by pixel blends": ("composition", "reached_pixels"),
    "and real, blends": ("composition", "reached_and_real_pixels"),
    "reconstructed": ("composition", "reconstructed"),
    "judge": ("composition", "judge"),
}


def cell(group: str, system: str) -> Cell:
    """Return a system on a data set; if the method mixes by masks, so do the metrics."""
    data, size = DATA[group]
    # In so few steps, the L1 error of the published code decodes strokes on black to black images;
    # cross-entropy draws the strokes.
    method = SYSTEMS[system] | {"reconstruction": "bce"}
    budget = {"train_size": size, "epochs": round(IMAGES / size), "batch_size": 16, "lr": 1e-3}
    masks = "Bernoulli" in system
    metrics = ("honesty.path=crossover",) * masks
    if group == "sprites":
        metrics += FACTORS + ("composition.path=crossover",) * masks
    return Cell(f"{group}: {system}", {"method": method, "image_size": 16, **data, **budget}, metrics=metrics)


TABLE = Table(
    name="comparison",
    title="AMR and its relatives by every metric",
    paper="not of a paper",
    columns=tuple(Column(title, *place) for title, place in COLUMNS.items()),
    metrics=METRICS,
    cells=tuple(cell(group, system) for group in DATA for system in SYSTEMS),
    scales={
        "short": Scale(minutes=1.2, note="24,000 images of 16 pixels, cross-entropy, learning rate 1e-3."),
        "smoke": Scale(
            {**SMOKE, "train_size": 210, "method": {"network": {"name": "conv", "width": 4}}},
            seeds=1,
            metrics=("knn", "few_labels"),
        ),
    },
)
