"""Realism and variety of generated images: are they distributed as real ones are, and do they repeat?"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Samples
from latentmix.metrics import Count, Score, device_of, folder_of, metric, require_finite
from latentmix.metrics.features.classifier import Features, classifier
from latentmix.metrics.features.given import network
from latentmix.metrics.features.statistics import Statistics, of_real, statistics
from latentmix.metrics.frechet import frechet_gaussian, interval, precision_recall, radii

LEAST = 0.5  # of each measure of variety, where real images have 1
# Samples that repeat one good image, or one of each class, get the best values of these; the distances and
# the measures of variety show that they repeat.
FOOLED = ("class_score", "class_score_deviation", "precision", "density")
VARIETY = ("variety", "variety_nearest", "variety_classes")
# These need a feature network that tells classes.
OF_CLASSES = ("class_score", "class_score_deviation", "class_score_real", "variety_classes")


@metric
def evaluate(
    method: Samples,
    data: Data,
    *,
    seed: int = 0,
    features: str = "classifier",
    n: Count = 10_000,
    splits: Annotated[int, Field(ge=2)] = 10,
    draws: Count = 3,
) -> Score:
    """How close generated images, as a set, are to real ones, and how much they vary.

    Each draw of samples is judged by a feature network of its own seed. Distances are comparable only between
    runs whose features have the same fingerprints and that draw as many images. Samples are rounded to the
    256 levels of a file first.

    Arguments:
        features: "classifier", a small one that is trained on the same data; "inception", Inception v3; or a
            network of the user's: NET.onnx, a folder in transformers' format, or module:function.
        n: How many images to generate, and to compare with at most of the training and of the test images.
        splits: Parts of the samples over which the class score is averaged, as published.
        draws: Independent draws of samples; draw i is judged by the classifier trained with `seed + i`, or by
            the other network.

    Returns:
        Means over the draws. `frechet_train`, `frechet_test`: distance of samples to each split.
        `class_score`, `class_score_deviation`: mean and deviation over the splits. `precision`, `recall`,
        `density`, `coverage` against training images, on 2,000 of each side at most. `variety`,
        `variety_nearest`, `variety_classes`: see `variety`. If the samples are collapsed, the class score,
        precision and density are NaN, because repeated images win them. For scale, of test images in the
        place of samples: `frechet_real`, `class_score_real`, `coverage_real`. With two draws or more,
        `frechet_test_low` and `frechet_test_high`, the 95 % interval. A network of the user's tells no
        classes, so that the class score and `variety_classes` are left out.

    Raises:
        ValueError: A method that draws no samples, too few images (2 for each feature), samples that are not
            finite, data without labels for the classifier, or no such network at hand.
    """
    if n < splits:
        raise ValueError(f"n={n} samples are too few for {splits} splits")
    own = network(features, device_of(method), data.shape[1])
    g = torch.Generator().manual_seed(seed)
    rows = {"train": torch.randperm(len(data.train), generator=g)[:n]}
    rows["test"] = torch.randperm(len(data.test), generator=g)[:n]
    found: list[dict[str, float]] = []
    nets: list[Features] = []
    prints: dict[str, list[str]] = {"train": [], "test": []}
    for draw in range(draws):
        nets.append(own or classifier(data, seed + draw, folder=folder_of(method)))
        if draw == 0 or own is None:
            train = of_real(nets[-1], data.train, rows["train"], splits)
            test = of_real(nets[-1], data.test, rows["test"], splits)
            fixed = {
                "frechet_real": _distance(train, test),
                "class_score_real": float(test.scores.mean()),
                "coverage_real": precision_recall(train.near, test.near)["coverage"],
            }
        prints["train"].append(train.fingerprint)
        prints["test"].append(test.fingerprint)
        fake = statistics(*describe_samples(method, nets[-1], n, g), splits)
        found.append(
            {
                "frechet_train": _distance(train, fake),
                "frechet_test": _distance(test, fake),
                "class_score": float(fake.scores.mean()),
                "class_score_deviation": float(fake.scores.std(correction=0)),
                **precision_recall(train.near, fake.near),
                **variety(train, fake),
                **fixed,
            }
        )
    told = [name for name in found[0] if nets[0].classes or name not in OF_CLASSES]
    values = {name: float(np.mean([v[name] for v in found])) for name in told}
    by_draw = [v["frechet_test"] for v in found]
    if draws > 1:
        values |= dict(zip(("frechet_test_low", "frechet_test_high"), interval(by_draw)))
    protocol = nets[0].protocol | {
        "fingerprints": [net.fingerprint for net in nets],
        "statistics": prints,
        "frechet_test_by_draw": by_draw,
        "n_samples": n,
        "n_train_images": len(rows["train"]),
        "n_test_images": len(rows["test"]),
        "n_coverage": min(len(train.near), len(fake.near)),
        "splits": splits,
        "draws": draws,
        "k": [3, 5],
        "seed": seed,
    }
    collapsed = collapse({name: values[name] for name in VARIETY if name in values})
    if collapsed["collapsed"]:
        values |= {name: math.nan for name in FOOLED if name in values}
    return Score(values, protocol | collapsed)


def _distance(real: Statistics, fake: Statistics) -> float:
    means = (real.mean.numpy(), fake.mean.numpy())
    return frechet_gaussian(means[0], real.covariance.numpy(), means[1], fake.covariance.numpy())


def describe_samples(
    method: Samples, net: Features, n: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw n samples, round them to 256 levels, and compute features (n, D) and probabilities (n, K).

    Raises:
        ValueError: Samples that are not finite.
    """
    described = []
    for start in range(0, n, 500):
        images = method.sample(min(500, n - start), generator).float()
        require_finite(images, "samples")
        described.append(net.describe((images.clamp(-1, 1) + 1).mul(127.5).round().div(127.5).sub(1)))
    return torch.cat([a for a, _ in described]), torch.cat([b for _, b in described])


def variety(real: Statistics, fake: Statistics) -> dict[str, float]:
    """Measure how much samples vary, each number as a ratio to that of as many real images: 1 is right.

    A ratio is NaN where real images do not vary: for example, most of them are stored twice.

    Returns:
        `variety`: root of the total variance of the features, 0 if all samples are alike. `variety_nearest`:
        median distance of a sample to the nearest other one, 0 if few images are repeated again and again.
        `variety_classes`: exp of the entropy of the mean class probabilities, 1 / K if only one class is
        drawn.
    """
    size = min(len(real.near), len(fake.near))

    def spread(x: Statistics) -> float:
        return math.sqrt(float(x.covariance.trace()))

    def nearest(x: Statistics) -> float:
        return float(radii(x.near[:size].double(), [1])[0].median())

    def classes(x: Statistics) -> float:
        return float(torch.special.entr(x.classes).sum().exp())

    measures = {"variety": spread, "variety_nearest": nearest, "variety_classes": classes}
    usual = {name: of(real) for name, of in measures.items()}
    return {name: of(fake) / usual[name] if usual[name] > 0 else math.nan for name, of in measures.items()}


def collapse(varied: dict[str, float]) -> dict[str, object]:
    """Return the protocol's entries about collapse: "collapsed" and, if that is true, "collapsed_because".

    Arguments:
        varied: {name: ratio} as `variety` gives them; an undefined ratio, NaN, is passed over.
    """
    low = [f"{name} {value:.2f}" for name, value in varied.items() if value < LEAST]
    if not low:
        return {"collapsed": False}
    why = f"samples vary too little: {', '.join(low)}; real images have 1, and {LEAST} is the least"
    return {"collapsed": True, "collapsed_because": why}
