"""Few labels, many images: supervised only, input mixup and Manifold Mixup (Manifold Mixup, table 4).

python -m latentmix.experiments.manifold_mixup.semi_supervised DATA OUT [mnist|cifar10|svhn] [clean|paper]
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data import Data, Split, from_path, load
from latentmix.data.subset import draw_evenly
from latentmix.data.zca import Zca
from latentmix.experiments.manifold_mixup.consistency import Form, Learner, ramp
from latentmix.networks.resnet import PreActResNet
from latentmix.networks.wide_resnet import WideResNet
from latentmix.runs.folder import write_atomically
from latentmix.supervised import crop_and_flip
from latentmix.training.device import keep_freed_memory

# Where each variant mixes, labelled and unlabelled images alike.
VARIANTS = {
    "supervised only": None,
    "input mixup": ["input"],
    "manifold mixup": ["input", "layer1", "layer2"],
}
LR, MOMENTUM, DECAY = 0.1, 0.9, 5e-4
DROPS = (1 / 2, 3 / 4, 7 / 8)  # of the training, where the learning rate falls tenfold
SCORED = 500  # images a batch
# Test error in percent, mean and deviation of five trials; supervised only from Oliver et al., 2018.
PUBLISHED = {
    "cifar10": {
        "supervised only": (20.26, 0.38),
        "input mixup": (10.71, 0.44),
        "manifold mixup": (10.26, 0.32),
    },
    "svhn": {
        "supervised only": (12.83, 0.47),
        "input mixup": (6.54, 0.62),
        "manifold mixup": (5.70, 0.48),
    },
}


@dataclass(frozen=True)
class Recipe:
    """One study: what is trained on what, for how long.

    Arguments:
        network: What builds the classifier; has layers `layer1` and `layer2`.
        image_size: Side of the images, in pixels.
        labelled: How many training images have a label, as many of each class.
        valid: How many of the training images are held out for validation, as many of each class.
        epochs: Passes over all other training images, the labelled ones among them.
        weight: Of the consistency loss, once it is ramped up.
        batch: Images in a batch with labels, and in one without.
        shift, flip: Training images are moved by up to so many pixels, and mirrored at random.
        zca: Whiten images.
        trials: Trainings of each variant, with seeds from 0.
        form: Of the losses: see `Learner`.
    """

    network: WideResNet | PreActResNet
    image_size: int
    labelled: int
    valid: int
    epochs: int
    weight: float
    batch: int = 100
    shift: int = 2
    flip: bool = False
    zca: bool = False
    trials: int = 5
    form: Form = "clean"


# The last two as published (appendix C), for GPUs; the first in the same way, small enough for one core.
RECIPES = {
    "mnist": Recipe(PreActResNet(18, width=8), 16, 100, 10_000, epochs=2, weight=1.0, shift=1, trials=3),
    "cifar10": Recipe(WideResNet(), 32, 4000, 5000, epochs=1000, weight=1.0, flip=True, zca=True),
    "svhn": Recipe(WideResNet(), 32, 1000, 7325, epochs=200, weight=2.0),
}


def partition(data: Data, recipe: Recipe, seed: int) -> tuple[Split, Tensor, Split]:
    """Draw validation images and labels, evenly over the classes; more labels of a seed include fewer.

    Returns:
        All other training images; the rows of them that have a label; validation images.

    Raises:
        ValueError: Data without labels, or fewer images than that.
    """
    if data.train.labels is None or data.valid.labels is None:
        raise ValueError(f"{data.name} has no labels to learn from")
    images = torch.cat([data.train.images, data.valid.images])
    labels = torch.cat([data.train.labels, data.valid.labels])
    if len(images) < recipe.valid + max(recipe.labelled, recipe.batch):
        raise ValueError(
            f"{data.name} has {len(images)} training images; it takes {recipe.valid} for validation and "
            f"{max(recipe.labelled, recipe.batch)} more"
        )
    g = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(images), dtype=torch.bool)
    held_out[draw_evenly(labels, recipe.valid, g)] = True
    train = Split(images[~held_out], labels[~held_out])
    valid = Split(images[held_out], labels[held_out])
    return train, draw_evenly(labels[~held_out], recipe.labelled, g), valid


def training(
    recipe: Recipe,
    variant: str,
    train: Split,
    labelled: Tensor,
    classes: int,
    seed: int,
    prepare: Callable[[Tensor], Tensor],
) -> Iterator[nn.Module]:
    """Train on images, some of them with labels; yield the network, in evaluation mode, after each epoch.

    Supervised only makes as many updates, of labelled batches alone.

    Arguments:
        labelled: Rows of `train` whose labels are used.
        prepare: From uint8 images to what the network sees.
    """
    assert train.labels is not None
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    channels, height, width = train.images.shape[1:]
    model = recipe.network.classifier((channels, height, width), classes).to(train.images.device)
    learner = Learner(model, VARIANTS[variant], recipe.form, g)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True
    )

    def see(rows: Tensor) -> Tensor:
        return prepare(
            crop_and_flip(train.images[rows.to(train.images.device)], recipe.shift, recipe.flip, g)
        )

    batches = endless(labelled, recipe.batch, g)
    unlabelled = endless(torch.arange(len(train)), recipe.batch, g)
    steps = len(train) // recipe.batch
    for step in range(recipe.epochs * steps):
        done = step / (recipe.epochs * steps)
        rows = next(batches)
        loss = learner.supervised(see(rows), train.labels[rows.to(train.labels.device)])
        if VARIANTS[variant] is not None:
            loss = loss + recipe.weight * ramp(done) * learner.consistency(see(next(unlabelled)))
        optimizer.param_groups[0]["lr"] = LR * 0.1 ** sum(done >= drop for drop in DROPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % steps == 0:
            yield model.eval()
            model.train()


def endless(rows: Tensor, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches in a new order for each pass; what does not fill a batch is left out, unless it is all."""
    batch = min(batch, len(rows))
    while True:
        order = rows[torch.randperm(len(rows), generator=generator)]
        yield from order[: len(rows) // batch * batch].split(batch)


@torch.no_grad()
def score(model: nn.Module, split: Split, prepare: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Accuracy in percent, and negative log-likelihood."""
    assert split.labels is not None
    logits = torch.cat([model(prepare(part)) for part in split.images.split(SCORED)])
    accuracy = 100 * (logits.argmax(1) == split.labels).float().mean().item()
    return {"accuracy": accuracy, "nll": F.cross_entropy(logits, split.labels).item()}


def trial(data: Data, recipe: Recipe, variant: str, seed: int, device: str) -> dict[str, float]:
    """Train once: scores on test images, at the end and at the best validation accuracy."""
    started = time.monotonic()
    train, labelled, valid = partition(data, recipe, seed)
    train, valid, test = (split.to(device) for split in (train, valid, data.test))
    zca = Zca.fit(pixels(train.images)) if recipe.zca else None

    def prepare(images: Tensor) -> Tensor:
        return pixels(images) if zca is None else zca(pixels(images))

    best = -1.0
    chosen = last = {"accuracy": math.nan, "nll": math.nan}
    for model in training(recipe, variant, train, labelled, len(data.class_names), seed, prepare):
        last = score(model, test, prepare)
        held_out = score(model, valid, prepare)["accuracy"]
        if held_out > best:
            best, chosen = held_out, last
    picked = {f"{name}_at_best_valid": value for name, value in chosen.items()}
    return last | picked | {"valid": best, "seconds": time.monotonic() - started}


def pixels(images: Tensor) -> Tensor:
    """From uint8 to float32 in [-1, 1]."""
    return Split(images).pixels()


def run(data: Path, out: Path, name: str = "mnist", form: Form = "clean") -> None:
    """Train every variant and seed; print, and write semi_supervised_NAME_FORM.json to `out`.

    What the file already holds for the same recipe is not trained again.

    Raises:
        ValueError: No such recipe or form.
    """
    if name not in RECIPES or form not in ("clean", "paper"):
        raise ValueError(f"{name}, {form}: choose one of {', '.join(RECIPES)}, and clean or paper")
    recipe = dataclasses.replace(RECIPES[name], form=form)
    protocol = dataclasses.asdict(recipe) | {"network": repr(recipe.network)}
    del protocol["trials"]  # more of them may be asked for later
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"semi_supervised_{name}_{form}.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows: dict[str, dict[str, float]] = stored.get("rows", {}) if stored.get("recipe") == protocol else {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        keep_freed_memory()
    images = load(from_path(data), image_size=recipe.image_size)
    print(f"{images.name}, {recipe.labelled} labels, {form}; test accuracy % / NLL, at the end", flush=True)
    for seed in range(recipe.trials):
        for variant in VARIANTS:
            key = f"{variant} {seed}"
            if key not in rows:
                rows[key] = trial(images, recipe, variant, seed, device)
                write_atomically(path, json.dumps({"recipe": protocol, "rows": rows}, indent=2) + "\n")
            values = rows[key]
            print(
                f"{key:18} {values['accuracy']:6.2f} / {values['nll']:.3f}  {values['seconds']:.0f} s",
                flush=True,
            )
    for variant in VARIANTS:
        theirs = PUBLISHED.get(name, {}).get(variant)
        error = [100 - rows[f"{variant} {seed}"]["accuracy"] for seed in range(recipe.trials)]
        nll = [rows[f"{variant} {seed}"]["nll"] for seed in range(recipe.trials)]
        print(
            f"{variant:16} error {fmean(error):5.2f}+-{stdev(error):.2f}   "
            f"nll {fmean(nll):.3f}+-{stdev(nll):.3f}"
            + ("" if theirs is None else "   paper {:.2f}+-{:.2f}".format(*theirs))
        )


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])  # type: ignore[arg-type]
