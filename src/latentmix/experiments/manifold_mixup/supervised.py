"""Manifold Mixup's supervised experiments in the small: tables 1, 3, 5 and 7 and figure 1, on two cores.

python -m latentmix.experiments.manifold_mixup.supervised DATA OUT      nine trainings of CIFAR-10, about 3
processor minutes each; the full sizes are in `manifold_tables`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from latentmix.data import Data, Split, from_path, load
from latentmix.metrics.interpolation import nll_along_interpolations
from latentmix.metrics.robustness import Deformation, accuracy, bce_on_softmax, deform, draw_matrices, fgsm
from latentmix.networks.resnet import PreActResNet
from latentmix.runs.folder import write_atomically
from latentmix.supervised import LAYERS, Classifier, Result, Training, channel_statistics, score, train

# As published: depth, momentum, decay, crops, alphas. Cut to the budget: width, images, epochs and their
# drops, and with the smaller batch the learning rate. One loss for all variants; the published code trained
# plain networks by another one than mixed ones.
PLAIN = Training(mixing="none", loss="cross-entropy", width=8, epochs=9, drops=(6, 8), lr=0.05, batch=64)
VARIANTS = {
    "none": PLAIN,
    "input": replace(PLAIN, mixing="input", alpha=1.0),
    "manifold": replace(PLAIN, mixing="manifold", alpha=2.0),
}
SEEDS = (0, 1, 2)
IMAGES, SELECTING, CHANGED, BETWEEN = 10_000, 2000, 2000, 1000
AMOUNTS: dict[Deformation, tuple[float, ...]] = {
    "rotation": (20, 40, 60, 80),
    "shear": (0.5, 1, 2, 2.5, 3),
    "zoom": (0.2, 0.4, 0.6, 0.8, 1.2, 1.4, 1.6, 1.8),
}
EPS, EPS_PIXELS = 0.03, 8 / 255  # of FGSM: in normalised images as published, and in pixels from 0 to 1
SHOWN = ("rotation 20", "rotation 60", "shear 0.5", "shear 1", "zoom 0.8", "zoom 1.4", "FGSM", "FGSM pixels")
LAMS = [i / 20 for i in range(21)]


def measure(result: Result, test: Split) -> dict[str, Any]:
    """Accuracy and NLL of the last and the best epoch, and accuracies of the last on changed images.

    Changed are the first `CHANGED` test images, by the same draws for every classifier: deformed as in table
    7, around their middle and filled with black; and by FGSM up the published loss in normalised images
    without a bound ("FGSM"), and up cross-entropy in pixels from 0 to 1 ("FGSM pixels").
    """
    assert test.labels is not None
    last, x, y = result.last, test.images[:CHANGED] / 255, test.labels[:CHANGED]
    changed = {
        f"{kind} {amount:g}": accuracy(last, x, y, deformation(kind, amount))
        for kind, amounts in AMOUNTS.items()
        for amount in amounts
    }
    eps = EPS * last.std  # the same step, in pixels
    changed["FGSM"] = accuracy(last, x, y, lambda x, y: fgsm(last, x, y, eps, loss=bce_on_softmax))
    changed["FGSM pixels"] = accuracy(
        last, x, y, lambda x, y: fgsm(last, x, y, EPS_PIXELS, bounds=(0.0, 1.0))
    )
    return {
        "last": score(last, test),
        "best": score(result.best, test),
        "best_epoch": result.best_epoch,
        "changed": changed,
        "history": result.history,
    }


def deformation(kind: Deformation, amount: float) -> Callable[[Tensor, Tensor], Tensor]:
    """One row of table 7, each image by its own draw."""
    generator = torch.Generator().manual_seed(0)
    return lambda x, y: deform(x, draw_matrices(kind, amount, len(x), generator), fill=0.0)


def run(path: Path, out: Path) -> None:
    """Train every seed and variant; write study.jsonl, figure1.json, figure1.png and the weights of seed 0.

    A line of study.jsonl is one training. What it holds already by the same settings is not trained again.
    """
    out.mkdir(parents=True, exist_ok=True)
    data = load(from_path(path), image_size=32, train_size=IMAGES)
    if data.labels is None:
        raise ValueError(f"{path} has no labels, and supervised training needs them")
    file = out / "study.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in map(json.loads, lines)}
    print(f"{IMAGES} images of {data.name}, all trained by {PLAIN.loss}; test accuracy in %, NLL in nats")
    for seed in SEEDS:
        for variant, training in VARIANTS.items():
            name, weights = f"{variant} {seed}", out / f"{variant}.safetensors"
            made_by = {"data": data.name, "images": IMAGES, "seed": seed, "training": asdict(training)}
            made_by = json.loads(json.dumps(made_by))
            lost = seed == SEEDS[0] and not weights.exists()
            if lost or rows.get(name, {}).get("made_by") != made_by:
                started = time.process_time()
                selection = data.valid.take(slice(SELECTING))
                result = train(training, data.train, selection, data.labels, seed=seed)
                rows[name] = {"name": name, "made_by": made_by, **measure(result, data.test)}
                rows[name]["processor_seconds"] = time.process_time() - started
                if seed == SEEDS[0]:
                    state = result.last.network.state_dict()
                    write_atomically(weights, save({key: t.contiguous() for key, t in state.items()}))
                write_atomically(file, "".join(json.dumps(row) + "\n" for row in rows.values()))
            print(f"{name:11} {summary([rows[name]])}", flush=True)
    for variant in VARIANTS:
        print(f"{variant:11} {summary([rows[f'{variant} {seed}'] for seed in SEEDS])}")
    curves = between(out, data)
    write_atomically(out / "figure1.json", json.dumps({"lams": LAMS, "nll": curves}, indent=2) + "\n")
    draw(curves, out / "figure1.png")


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean, and deviation where there are several, of what one line can hold."""

    def spread(values: list[float], digits: int) -> str:
        deviation = f"+-{stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{fmean(values):.{digits}f}{deviation}"

    words = [
        f"{epoch} {spread([100 * row[epoch]['accuracy'] for row in rows], 1)}"
        f" / {spread([row[epoch]['nll'] for row in rows], 3)}"
        for epoch in ("last", "best")
    ]
    words += [f"{name} {spread([100 * row['changed'][name] for row in rows], 1)}" for name in SHOWN]
    return "  ".join(words)


def between(out: Path, data: Data) -> dict[str, dict[str, list[float]]]:
    """NLL between pairs of test images, {layer: {variant: one value for each of `LAMS`}}; stored networks."""
    assert data.labels is not None
    assert data.test.labels is not None
    x, y = data.test.images[:BETWEEN] / 255, data.test.labels[:BETWEEN]
    statistics = channel_statistics(data.train.images, PLAIN.statistics)
    curves: dict[str, dict[str, list[float]]] = {layer: {} for layer in LAYERS["manifold"]}
    for variant, training in VARIANTS.items():
        network = PreActResNet(training.depth, training.width).classifier(data.shape, data.labels)
        network.load_state_dict(load_file(out / f"{variant}.safetensors"))
        classifier = Classifier(network.eval(), *statistics)
        for layer, of_layer in curves.items():
            generator = torch.Generator().manual_seed(0)
            of_layer[variant] = nll_along_interpolations(
                network, classifier.normalise(x), y, layer, LAMS, generator=generator
            )
    return curves


def draw(curves: Mapping[str, Mapping[str, list[float]]], path: Path) -> None:
    """Figure 1: a panel for each layer, a line for each variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 3.2), layout="constrained")
    axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axis, (layer, of_layer) in zip(axes, curves.items()):
        for variant, values in of_layer.items():
            axis.plot(LAMS, values, label=variant)
        axis.set(title=f"mixed at {layer}", xlabel="lam")
    axes[0].set(ylabel="NLL of mixed labels")
    axes[0].legend(title="trained with")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
