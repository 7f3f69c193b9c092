"""Make new images of rare classes by mixing, and find out whether a classifier does better with them."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentmix.apps import study
from latentmix.apps.augment import page
from latentmix.apps.augment.arms import ARMS, SHARES, correct, train
from latentmix.apps.augment.outcome import Comparison, Verdict, compare, headline, recall
from latentmix.apps.augment.pools import Pool, blends, limits, mixes
from latentmix.atomic import write_atomically
from latentmix.config import catalogue
from latentmix.data import Data, Split
from latentmix.data.decoding.labels import as_column
from latentmix.data.given import as_numpy
from latentmix.data.split import UNLABELLED
from latentmix.data.subset import column, draw_evenly, has
from latentmix.metrics import evaluating
from latentmix.metrics.features.classifier import classifier
from latentmix.mixing import Mixer
from latentmix.pictures.tiles import picture

SEEDS = 5
TESTED = 2000  # test images, evenly over the classes, and as many validation images
LAST = 100_000  # epochs between validations: only the last weights are wanted
METHOD = {"name": "amr", "network": {"name": "conv", "width": 16}}


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Arguments:
        verdict: Whether mixes help.
        text: The same in one sentence.
        comparisons: Every arm beside another.
        recalls: {arm: mean recall on test images, one for each seed}.
        shares: {arm: the share that validation chose, one for each seed}.
        judged: Which test images were judged, in words.
        made: The mixes of the first seed.
    """

    verdict: Verdict
    text: str
    comparisons: list[Comparison]
    recalls: dict[str, list[float]]
    shares: dict[str, list[float]]
    judged: str
    made: Pool


def augment(
    data: Data,
    out: str | Path,
    *,
    seeds: int = SEEDS,
    steps: int = 600,
    model: Mapping[str, Any] | None = None,
    per_class: int = 200,
    mixer: Mixer | None = None,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Train a mixing model on the training images, mix inside classes, and test whether it helps.

    For every seed, a model is trained on the training images, images are mixed, and a small classifier is
    trained in each arm. The share of new images is chosen on validation images; test images are only counted.
    Training images without a label (-1) teach the mixing model and count as real ones; only images with a
    label are mixed and shown to classifiers. OUT gets images/CLASS/*.png, receipts.json, verdict.json,
    verdict.html and the models.

    Arguments:
        seeds: Paired repetitions, 5 or more.
        steps: Training steps of each classifier.
        model: Settings of the model's training, as for `lm.train`; AMR for 10 epochs by default.
        per_class: New images of each class.
        mixer: How codes are mixed; by default as the method does, or by mixup if it has no mixer.
        say: Called with news.

    Raises:
        ValueError: Data without two classes, fewer than five seeds, a folder that is not empty, or a method
            that does not mix images.
    """
    out = Path(out)
    if seeds < SEEDS:
        raise ValueError(f"seeds={seeds}: a verdict takes {SEEDS} paired repetitions or more")
    if data.train.labels is None or data.num_classes is None or data.num_classes < 2:
        raise ValueError("augmentation is judged by a classifier, which needs labels of two classes or more")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose another folder")
    spec = (model or {}).get("method", METHOD)
    part = catalogue.get("method", spec["name"] if isinstance(spec, Mapping) else str(spec))
    if part is not None and part.without("encode", "decode"):
        raise ValueError(
            f"{part.name} cannot encode and decode images, so it mixes none; choose another method"
        )
    whole, data = data, dataclasses.replace(data, train=data.train.labelled())
    targets = rare(data)
    judged, words = what_is_judged(data, targets)
    valid = _some(data.valid.labelled())
    hidden = dataclasses.replace(whole, valid=valid, test=valid)  # models and filters never see test images
    pools: list[dict[str, Pool]] = []
    features = classifier(dataclasses.replace(hidden, train=data.train))
    known = limits(hidden, features)
    for seed in range(seeds):
        say(f"seed {seed}: training the mixing model")
        settings = {"method": METHOD, "validate_every": LAST, **(model or {}), "seed": seed, "quiet": True}
        run = study.train(data=hidden, out=out / "models" / f"seed{seed}", **settings)
        with evaluating(run.method):
            made = mixes(run.method, hidden, targets, per_class, features, known, mixer=mixer, seed=seed)
        pools.append({"mixes": made, "blends": blends(hidden, targets, per_class, seed=seed)})
        say(f"seed {seed}: {len(made)} mixes kept, dropped: {made.dropped}")
    outcome = judge(data, pools, judged, steps=steps, say=say)
    outcome = dataclasses.replace(outcome, judged=words)
    _write(out, whole, outcome, pools[0]["blends"])
    return outcome


def judge(
    data: Data,
    pools: Sequence[dict[str, Pool]],
    judged: Split,
    *,
    steps: int,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Train the classifiers of all arms, one set for each seed, and compare them.

    Arguments:
        pools: The new images of each seed, {"mixes": ..., "blends": ...}.
        judged: The test images that count.
    """
    assert judged.labels is not None
    valid = _some(data.valid.labelled())
    assert valid.labels is not None
    right: dict[str, list[Tensor]] = {arm.name: [] for arm in ARMS}
    chosen: dict[str, list[float]] = {arm.name: [] for arm in ARMS}
    for seed, pool in enumerate(pools):
        for arm in ARMS:
            best, found = -1.0, (0.0, torch.empty(0))
            for share in arm.shares:
                # Mixes on top of affine moves have as many moves as the arm without mixes, so that the mixes
                # alone make the difference.
                moves = chosen[arm.against][-1] if arm.affine and arm.pool else share
                net = train(arm, share, moves, data, pool, seed=seed, steps=steps)
                merit = recall(correct(net, valid), valid.labels)
                if merit > best:
                    best, found = merit, (share, correct(net, judged))
            chosen[arm.name].append(found[0])
            right[arm.name].append(found[1])
        line = ", ".join(f"{a} {100 * recall(r[-1], judged.labels):.1f} %" for a, r in right.items())
        say(f"seed {seed}: {line}")
    stacked = {name: torch.stack(rows) for name, rows in right.items()}
    comparisons = compare(stacked, judged.labels, [(arm.name, arm.against) for arm in ARMS if arm.against])
    verdict, text = headline(comparisons)
    recalls = {name: [recall(row, judged.labels) for row in rows] for name, rows in stacked.items()}
    return Outcome(verdict, text, comparisons, recalls, chosen, "", pools[0]["mixes"])


def rare(data: Data) -> list[int]:
    """Classes with less than half as many training images as the largest class; all, if there are none."""
    assert data.train.labels is not None
    counts = data.train.labels.cpu().bincount(minlength=len(data.class_names))
    few = [c for c, n in enumerate(counts.tolist()) if 0 < n < int(counts.max()) / 2]
    return few or [c for c, n in enumerate(counts.tolist()) if n]


def what_is_judged(data: Data, targets: Sequence[int]) -> tuple[Split, str]:
    """The test images that count, and which these are: of a held-out combination, or of the rare classes.

    Where the combination has images of one class alone, those of the other classes that have the rest of it
    count too.

    Raises:
        ValueError: There are no such test images.
    """
    test = data.test.labelled()
    assert test.labels is not None
    if data.held_out:
        held, words = has(data, data.held_out, test), "the combination that no labelled training image has"
        rest = {n: v for n, v in data.held_out.items() if not torch.equal(column(data, n, test), test.labels)}
        if rest and len(test.labels[held].unique()) == 1:  # to call everything by that name would win
            held = has(data, rest, test)
            words += ", with the same of the other classes"
        split = test.take(held)
    elif len(targets) < len(data.class_names):
        split = test.take(torch.isin(test.labels, torch.tensor(list(targets))))
        words = f"the {len(targets)} rare classes"
    else:
        split, words = test, "all classes"
    if not len(split):
        raise ValueError(f"there are no test images of {words}")
    split = _some(split)
    return split, f"{len(split):,} test images of {words}"


def fit_resample(
    x: Any, y: Any, *, model: Mapping[str, Any] | None = None, out: str | Path | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Balance classes by mixes: images and labels, and after them new images of every class but the largest.

    The interface is that of imbalanced-learn's samplers. Give it training images only. Whether it helps is
    another question, which `augment` answers.

    Arguments:
        x: Images, as for `Data.from_arrays`, square.
        y: Labels, whole numbers or text, shape (N,); -1 is a class like any other.
        model: Settings of the mixing model's training, as for `lm.train`.
        out: Folder for the model; a temporary one if None.

    Returns:
        Images (N + M, ...) in the layout and type of x, and labels (N + M,). Fewer are made where too few
        mixes pass, and none of a class with a single image; a warning names these classes.

    Raises:
        ValueError: Images or labels that `Data.from_arrays` refuses, other shapes than squares, or one class.
    """
    import tempfile

    x, y = as_numpy(x), as_column(as_numpy(y))
    names, index = np.unique(y, return_inverse=True)
    data = Data.from_arrays(x, index, class_names=list(map(str, names)), name="resampled")
    assert data.train.labels is not None
    if math.prod(x.shape[1:]) != math.prod(data.shape):
        raise ValueError(f"images of shape {x.shape[1:]} are not square")
    if len(names) < 2:
        raise ValueError("labels hold one class; there is nothing to balance")
    counts = np.bincount(index)
    wanted = {c: int(counts.max() - n) for c, n in enumerate(counts) if n < counts.max()}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"method": METHOD, **(model or {}), "seed": seed, "quiet": True}
        run = study.train(data=data, out=Path(out or folder) / "model", **settings)
        features = classifier(data)
        known = limits(data, features)
        with evaluating(run.method):
            pools = [
                mixes(run.method, data, [c], n, features, known, seed=seed + c) for c, n in wanted.items()
            ]
    short = [
        f"{len(p)} of {n} for class {names[c]}" for p, (c, n) in zip(pools, wanted.items()) if len(p) < n
    ]
    if short:
        warnings.warn(f"too few mixes passed: {', '.join(short)}", stacklevel=2)
    made = torch.cat([p.images for p in pools] or [torch.empty(0, *data.shape, dtype=torch.uint8)])
    labels = np.concatenate([names[p.labels.numpy()] for p in pools] or [y[:0]])
    return np.concatenate([x, _like(made, x)]), np.concatenate([y, labels])


def _like(images: Tensor, x: np.ndarray) -> np.ndarray:
    """New images in the layout and type of x."""
    array = images.numpy()
    if x.ndim == 3:
        array = array[:, 0]
    elif x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    return array.astype(x.dtype) if x.dtype == np.uint8 else (array / 255).astype(x.dtype)


def _some(split: Split) -> Split:
    assert split.labels is not None
    if len(split) <= TESTED:
        return split
    index = draw_evenly(split.labels.cpu(), TESTED, torch.Generator().manual_seed(0))
    return split.take(index.to(split.images.device))


def _write(out: Path, data: Data, outcome: Outcome, blended: Pool) -> None:
    """Write images, receipts, numbers and the page."""
    made = outcome.made
    for number, (image, receipt) in enumerate(zip(made.images, made.receipts)):
        folder = out / "images" / receipt["class"].replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{number:05}.png"
        picture(image.float() / 127.5 - 1).convert("L" if data.shape[0] == 1 else "RGB").save(file)
        receipt["file"] = str(file.relative_to(out))
    write_atomically(out / "receipts.json", json.dumps(made.receipts, indent=1) + "\n")
    numbers = {
        "verdict": outcome.verdict,
        "text": outcome.text,
        "judged": outcome.judged,
        "comparisons": [dataclasses.asdict(c) for c in outcome.comparisons],
        "recalls": outcome.recalls,
        "shares": outcome.shares,
        "shares_to_choose_from": SHARES,
        "mixes": len(made),
        "dropped": made.dropped,
    }
    write_atomically(out / "verdict.json", json.dumps(numbers, indent=2) + "\n")
    assert data.train.labels is not None
    known = data.train.labels[data.train.labels != UNLABELLED]
    counts = known.bincount(minlength=len(data.class_names)).tolist()
    facts = dict(zip(data.class_names, counts))
    write_atomically(out / "verdict.html", page.render(data, numbers, made, blended, facts))
