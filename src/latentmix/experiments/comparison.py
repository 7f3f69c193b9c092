"""AMR and what it is compared with, on several data sets, by every metric: mean and deviation over seeds.

python -m latentmix.experiments.comparison OUT [DATA ...]

DATA are names or paths of data sets with labels; by default sprites, which need no download. Every system
sees the same number of images at 16 pixels, with the same network and reconstruction loss. A run that is
finished is not trained again, and a score that is kept is not computed again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from latentmix import config, runs
from latentmix.data import load
from latentmix.evaluate import evaluate
from latentmix.runs.folder import write_atomically
from latentmix.training.loop import train

TRAIN_SIZE, IMAGES = 6_000, 24_000  # each system sees IMAGES in training
SHARED = {"image_size": 16, "batch_size": 16, "lr": 1e-3}
# In so few steps the L1 of the published code makes strokes on black wholly black; cross-entropy draws them.
RECONSTRUCTION = "bce"
SEEDS = (0, 1, 2)
SPRITES = {
    "data": {"name": "sprites", "images": 20_000},
    "hold_out": {"scale": [3, 4, 5], "x": list(range(16, 32))},  # whatever is large and on the right
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
# Smaller than the defaults, for the sake of many runs on a processor; each protocol says so.
METRICS = (
    "probe",
    "knn",
    "deep_probe.steps=1000",
    "few_labels.draws=3",
    "clusters.restarts=5",
    "frechet.n=1000",
    "honesty",
    "path",
)
FACTOR_METRICS = ("disentanglement.fast=true", "composition.n=1000")
TABLES = {
    "usefulness of codes": {
        "online": ("training", "test_probe_accuracy"),
        "offline": ("probe", "offline_accuracy"),
        "kNN": ("knn", "knn_accuracy"),
        "deep": ("deep_probe", "deep_accuracy"),
        "100 labels": ("few_labels", "accuracy_100"),
        "1,000 labels": ("few_labels", "accuracy_1000"),
        "clusters": ("clusters", "cluster_accuracy"),
        "NMI": ("clusters", "nmi"),
        "ARI": ("clusters", "ari"),
    },
    "sets of mixes": {
        "Frechet": ("frechet", "frechet"),
        "of reconstructions": ("frechet", "frechet_reconstruction"),
        "kernel": ("frechet", "kernel"),
        "precision": ("frechet", "precision"),
        "recall": ("frechet", "recall"),
        "density": ("frechet", "density"),
        "coverage": ("frechet", "coverage"),
        "class score": ("frechet", "class_score"),
    },
    "single mixes (honesty) and walks": {
        "density": ("honesty", "density"),
        "realistic": ("honesty", "realistic"),
        "ghosting": ("honesty", "ghosting"),
        "collapse": ("honesty", "collapse"),
        "confidence": ("honesty", "confidence"),
        "memory": ("honesty", "memory"),
        "length": ("path", "length"),
        "peak": ("path", "peak"),
    },
    "factors (fast settings)": {
        "FactorVAE": ("disentanglement", "factor_vae_eval_accuracy_fast"),
        "AMR's variant": ("disentanglement", "factor_vae_published_fast"),
        "beta-VAE": ("disentanglement", "beta_vae_eval_accuracy_fast"),
        "MIG": ("disentanglement", "discrete_mig_fast"),
        "SAP": ("disentanglement", "SAP_score_fast"),
        "DCI d": ("disentanglement", "disentanglement_fast"),
        "DCI c": ("disentanglement", "completeness_fast"),
        "modularity": ("disentanglement", "modularity_score_fast"),
    },
    "composition": {
        "reached": ("composition", "reached"),
        "and real": ("composition", "reached_and_real"),
        "once on the walk": ("composition", "reached_once"),
        "of pixel blends": ("composition", "reached_pixels"),
        "and real, blends": ("composition", "reached_and_real_pixels"),
        "reconstructed": ("composition", "reconstructed"),
        "judge": ("composition", "judge"),
    },
}


def settings_of(data: str) -> dict[str, Any]:
    """What all runs on a data set share: as many epochs as make IMAGES images."""
    shared: dict[str, Any] = dict(SPRITES) if data == "sprites" else {"data": data}
    shared |= SHARED
    run = config.resolve(shared)
    loaded = load(config.build("data", run.data), image_size=run.image_size, hold_out=run.hold_out)
    size = min(TRAIN_SIZE, len(loaded.train))
    return shared | {"train_size": size, "epochs": max(1, round(IMAGES / size))}


def run(out: Path, data: Sequence[str]) -> None:
    """Train, score and tabulate; comparison.md in `out` holds the tables of what is done so far."""
    shared_by = {name: settings_of(name) for name in data}
    for seed in SEEDS:
        for name, shared in shared_by.items():
            stem = Path(name).name
            for system, method in SYSTEMS.items():
                folder = out / stem / f"{system} {seed}"
                method = method | {"reconstruction": RECONSTRUCTION}
                settings = shared | {"method": method, "seed": seed, "out": str(folder)}
                train(config.resolve(settings))
                score(folder, method, stem == "sprites")
                print(f"{stem}, seed {seed}, {system}", flush=True)
            write_atomically(out / "comparison.md", tables(out, [Path(n).name for n in data]))


def score(folder: Path, method: Mapping[str, Any], factors: bool) -> None:
    """Compute all metrics of a run; mixes are made by masks where the method mixes by masks.

    Raises:
        ValueError: A metric cannot be computed.
    """
    metrics = [*METRICS, *FACTOR_METRICS * factors]
    if method.get("mixer", {}).get("name") == "bernoulli":
        metrics += ["honesty.path=crossover", *["composition.path=crossover"] * factors]
    _, failures = evaluate(folder, metrics, say=lambda text: None)
    if failures:
        raise ValueError("; ".join(f"{folder}: {name}: {why}" for name, why in failures.items()))


def tables(out: Path, data: Sequence[str]) -> str:
    """Markdown tables of the finished runs below `out`: mean and deviation over seeds."""
    text = []
    for name in data:
        scores = {
            system: [
                runs.read_scores(folder)
                for seed in SEEDS
                if (folder := out / name / f"{system} {seed}").exists()
            ]
            for system in SYSTEMS
        }
        for title, columns in TABLES.items():
            rows = {s: [cell(found, *column) for column in columns.values()] for s, found in scores.items()}
            if any(filled for row in rows.values() for filled in row):
                head = f"| {name}: {title} | " + " | ".join(columns) + " |"
                lines = [f"| {system} | " + " | ".join(row) + " |" for system, row in rows.items()]
                text += [head, "|---" * (len(columns) + 1) + "|", *lines, ""]
    return "\n".join(text)


def cell(scores: Sequence[Mapping[str, Any]], metric: str, value: str) -> str:
    """Mean and deviation of one value over the seeds that have it and where it is defined."""
    every = [s.get(metric, {}).get("values", {}).get(value) for s in scores]
    found = [number for number in every if number is not None]
    if not found:
        return ""
    return f"{fmean(found):.3f}" + (f" ± {stdev(found):.3f}" if len(found) > 1 else "")


if __name__ == "__main__":
    run(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/comparison"), sys.argv[2:] or ["sprites"])
