"""Few labels: who gets them, which labels matter, the published recipes, and a run that
continues."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from latentmix.data import Data, Split
from latentmix.experiments.manifold_mixup import semi_supervised as experiment
from latentmix.experiments.manifold_mixup.consistency import Learner
from latentmix.networks.resnet import PreActResNet

TINY = experiment.Recipe(PreActResNet(18, width=1), 8, labelled=10, valid=10, epochs=2, weight=1.0, batch=8)


def data(n: int = 80, side: int = 8, channels: int = 1, seed: int = 0) -> Data:
    g = torch.Generator().manual_seed(seed)
    splits = [
        Split(
            torch.randint(256, (m, channels, side, side), generator=g, dtype=torch.uint8),
            torch.arange(m) % 10,
        )
        for m in (n - n // 4, n // 4, 40)
    ]
    return Data("noise", *splits, class_names=tuple("0123456789"), attribute_names=(), fingerprint="")


def weights(
    variant: str, train: Split, labelled: torch.Tensor, recipe: experiment.Recipe = TINY
) -> torch.Tensor:
    epochs = 0
    for network in experiment.training(recipe, variant, train, labelled, 10, 0, experiment.pixels):
        assert not network.training
        epochs += 1
    assert epochs == recipe.epochs
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_few_balanced_nested_and_seeded(seed: int) -> None:
    source = data(200)
    chosen: list[set[int]] = []
    for count in (10, 30, 100):
        recipe = dataclasses.replace(TINY, labelled=count, valid=50)
        train, labelled, valid = experiment.partition(source, recipe, seed)
        assert (len(train), len(valid)) == (150, 50)
        assert torch.bincount(train.labels[labelled], minlength=10).tolist() == [count // 10] * 10
        assert torch.bincount(valid.labels, minlength=10).tolist() == [5] * 10
        assert not {r.numpy().tobytes() for r in train.images} & {r.numpy().tobytes() for r in valid.images}
        assert torch.equal(labelled, experiment.partition(source, recipe, seed)[1])
        assert not torch.equal(labelled, experiment.partition(source, recipe, seed + 1)[1])
        chosen.append(set(labelled.tolist()))
    assert chosen[0] < chosen[1] < chosen[2]


def test_too_little_data() -> None:
    with pytest.raises(ValueError, match="it takes 10000 for validation and 100 more"):
        experiment.partition(data(), experiment.RECIPES["mnist"], 0)
    unlabelled = dataclasses.replace(data(), train=Split(data().train.images))
    with pytest.raises(ValueError, match="no labels"):
        experiment.partition(unlabelled, TINY, 0)


@pytest.mark.parametrize("variant", experiment.VARIANTS)
def test_only_the_few_labels_matter(variant: str) -> None:
    train, labelled, _ = experiment.partition(data(), TINY, 0)
    hidden = torch.full_like(train.labels, 7)
    hidden[labelled] = train.labels[labelled]
    before = weights(variant, train, labelled)
    assert torch.equal(weights(variant, Split(train.images, hidden), labelled), before)
    other = hidden.clone()
    other[labelled] = (other[labelled] + 1) % 10
    assert not torch.equal(weights(variant, Split(train.images, other), labelled), before)


@pytest.mark.parametrize("variant", experiment.VARIANTS)
def test_images_without_labels_matter_unless_it_is_supervised_only(variant: str) -> None:
    train, labelled, _ = experiment.partition(data(), TINY, 0)
    inverted = 255 - train.images
    inverted[labelled] = train.images[labelled]
    same = torch.equal(
        weights(variant, train, labelled), weights(variant, Split(inverted, train.labels), labelled)
    )
    assert same == (variant == "supervised only")


def test_batches_pass_over_all_rows_in_new_orders() -> None:
    rows = torch.arange(10, 20)
    batches = experiment.endless(rows, 5, torch.Generator().manual_seed(0))
    passes = [torch.cat([next(batches), next(batches)]) for _ in range(4)]
    assert all(p.sort().values.equal(rows) for p in passes)
    assert not any(torch.equal(passes[0], p) for p in passes[1:])
    few = experiment.endless(rows, 50, torch.Generator().manual_seed(0))
    assert [len(next(few)) for _ in range(3)] == [10] * 3
    uneven = experiment.endless(rows, 4, torch.Generator().manual_seed(0))
    assert [len(next(uneven)) for _ in range(5)] == [4] * 5


def test_scores_by_hand() -> None:
    split = Split(torch.tensor([0, 255, 255], dtype=torch.uint8).reshape(3, 1, 1, 1), torch.tensor([0, 1, 0]))

    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-x, x], 1).flatten(1)

    values = experiment.score(model, split, experiment.pixels)  # type: ignore[arg-type]
    assert values["accuracy"] == pytest.approx(200 / 3)
    assert values["nll"] == pytest.approx(np.mean([0, 0, 2]) + np.log1p(np.exp(-2)))


@pytest.mark.parametrize(("name", "side", "form"), [("cifar10", 16, "clean"), ("svhn", 32, "paper")])
def test_published_recipes_start(name: str, side: int, form: str) -> None:
    """The published network and settings, on fewer images, and smaller ones where they are whitened."""
    recipe = dataclasses.replace(
        experiment.RECIPES[name], image_size=side, labelled=10, valid=10, batch=5, epochs=1, form=form
    )
    row = experiment.trial(data(25, side, channels=3), recipe, "manifold mixup", 0, "cpu")
    assert set(row) >= {"accuracy", "nll", "accuracy_at_best_valid", "nll_at_best_valid", "valid", "seconds"}
    assert all(np.isfinite(value) for value in row.values())


def test_published_recipes_make_as_many_updates_as_published_and_cost_what_the_docs_say() -> None:
    images = {"cifar10": 50_000, "svhn": 73_257}
    updates = {
        name: recipe.epochs * ((images[name] - recipe.valid) // recipe.batch)
        for name, recipe in experiment.RECIPES.items()
        if name in images
    }
    assert updates == {"cifar10": 450_000, "svhn": 131_800}
    model = experiment.RECIPES["cifar10"].network.classifier((3, 32, 32), 10)
    learner = Learner(model, ["input"], "clean", torch.Generator().manual_seed(0))
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    with FlopCounterMode(display=False) as counter:
        (learner.supervised(x, y) + learner.consistency(x)).backward()
    assert counter.get_total_flops() / 2 == pytest.approx(3.40e9, rel=0.01)  # an image of each kind


def test_a_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = dataclasses.replace(TINY, epochs=1, trials=2)
    monkeypatch.setitem(experiment.RECIPES, "mnist", recipe)
    source = data(60).train
    np.savez(tmp_path / "digits.npz", images=source.images[:, 0].numpy(), labels=source.labels.numpy())
    experiment.run(tmp_path / "digits.npz", tmp_path)
    stored = json.loads((tmp_path / "semi_supervised_mnist_clean.json").read_text())
    assert stored["recipe"]["form"] == "clean"
    assert set(stored["rows"]) == {f"{variant} {seed}" for variant in experiment.VARIANTS for seed in (0, 1)}
    assert capsys.readouterr().out.count("error") == 3
    trial = experiment.trial
    monkeypatch.setattr(experiment, "trial", None)  # nothing is left to train
    experiment.run(tmp_path / "digits.npz", tmp_path)
    assert json.loads((tmp_path / "semi_supervised_mnist_clean.json").read_text()) == stored
    # Another recipe's rows are not taken for this one's.
    monkeypatch.setattr(experiment, "trial", trial)
    monkeypatch.setitem(experiment.RECIPES, "mnist", dataclasses.replace(recipe, weight=2.0, trials=2))
    experiment.run(tmp_path / "digits.npz", tmp_path)
    assert json.loads((tmp_path / "semi_supervised_mnist_clean.json").read_text())["rows"] != stored["rows"]


def test_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose one of mnist, cifar10, svhn, and clean or paper"):
        experiment.run(tmp_path, tmp_path, "cifar")
    with pytest.raises(ValueError, match="clean or paper"):
        experiment.run(tmp_path, tmp_path, "mnist", "published")  # type: ignore[arg-type]
