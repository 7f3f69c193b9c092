"""Augmentation: receipts without test images, arms that draw as they say, and a verdict that knows noise."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import latentmix as lm
from latentmix.apps.augment import augment
from latentmix.apps.augment.arms import ARMS, SHARES, Arm, _ByClass, moved, train
from latentmix.apps.augment.augment import Outcome, judge, rare, what_is_judged
from latentmix.apps.augment.outcome import compare, headline, recall
from latentmix.apps.augment.pools import blends, limits, mixes, sha256
from latentmix.data import Data, load
from latentmix.data.sources.digits import Digits
from latentmix.data.sources.sprites import Sprites
from latentmix.data.split import UNLABELLED
from latentmix.methods.autoencoder import Autoencoder
from latentmix.metrics.features.classifier import classifier
from latentmix.mixing import Mix
from latentmix.networks.conv import Conv

PAIRS = [(arm.name, arm.against) for arm in ARMS if arm.against]
NETWORK = {"name": "conv", "width": 4}
TINY: dict[str, Any] = {
    "method": {"name": "autoencoder", "network": NETWORK},
    "steps": 10,
    "batch_size": 16,
    "device": "cpu",
}


def sums(images: Iterable[Tensor]) -> set[str]:
    return {sha256(image) for image in images}


@pytest.fixture(scope="module")
def digits() -> Data:
    """Three digits, of which the first has ten training images and the others forty."""
    data = load(Digits(), image_size=16, classes=[0, 1, 2])
    labels = data.train.labels
    assert labels is not None
    rows = torch.cat([(labels == c).nonzero()[:n, 0] for c, n in enumerate((10, 40, 40))])
    return dataclasses.replace(data, train=data.train.take(rows), class_names=("0", "1", "2"))


def test_a_held_out_combination_of_one_class_is_judged_beside_the_other_classes() -> None:
    large = {"scale": [3, 4, 5], "x": list(range(16, 32))}
    of_all = load(Sprites(2000), image_size=8, hold_out=large)
    of_one = load(Sprites(2000), image_size=8, hold_out={"shape": [2], **large})
    judged, words = what_is_judged(of_one, [0, 1, 2])
    everything, _ = what_is_judged(of_all, [0, 1, 2])
    assert words.endswith(
        "of the combination that no labelled training image has, with the same of the other classes"
    )
    assert torch.equal(judged.images, everything.images)
    assert judged.labels is not None
    assert judged.labels.unique().tolist() == [0, 1, 2]


@pytest.fixture(scope="module")
def study(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    out = tmp_path_factory.mktemp("augmented") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentmix.metrics.features.classifier.STEPS", 30)
        outcome = lm.augment(digits, out, steps=5, per_class=12, model=TINY, say=lambda text: None)
    return outcome, out


def test_no_test_image_is_in_a_receipt(study: tuple[Outcome, Path], digits: Data) -> None:
    _, out = study
    receipts = json.loads((out / "receipts.json").read_text())
    named = {parent["sha256"] for receipt in receipts for parent in receipt["parents"]}
    assert receipts
    assert named <= sums(digits.train.images)
    assert not named & sums(digits.test.images)
    assert digits.train.labels is not None
    for receipt in receipts:
        assert {int(digits.train.labels[p["row"]]) for p in receipt["parents"]} == {0}
        assert receipt["class"] == "0"  # only the rare class
        assert sum(p["weight"] for p in receipt["parents"]) == pytest.approx(1, abs=1e-3)
        with Image.open(out / receipt["file"]) as image:
            assert image.size == (16, 16)


def test_models_never_see_test_images(study: tuple[Outcome, Path], digits: Data) -> None:
    run = lm.load(study[1] / "models" / "seed0")
    seen = sums(run.data.train.images) | sums(run.data.valid.images) | sums(run.data.test.images)
    assert seen == sums(digits.train.images) | sums(digits.valid.images)


def test_the_page_and_the_numbers_agree(study: tuple[Outcome, Path]) -> None:
    outcome, out = study
    numbers = json.loads((out / "verdict.json").read_text())
    page = (out / "verdict.html").read_text()
    assert numbers["verdict"] == outcome.verdict
    assert numbers["text"] in page
    assert {len(seeds) for seeds in numbers["recalls"].values()} == {5}
    assert set(numbers["recalls"]) == {arm.name for arm in ARMS}
    assert "http" not in page.replace("http-equiv", "")


class Halves:
    """Half of each parent."""

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        partners = torch.stack([torch.arange(len(h)), torch.randperm(len(h), generator=generator)])
        return Mix(partners, torch.full((2, len(h), 1), 0.5))


def test_images_without_a_label_teach_the_mixing_model_alone(digits: Data, tmp_path: Path) -> None:
    labels = digits.train.labels
    assert labels is not None
    known = labels.clone()
    known[::2] = UNLABELLED
    some = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=known))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentmix.metrics.features.classifier.STEPS", 30)
        quiet: dict[str, Any] = {"mixer": Halves(), "say": lambda text: None}
        lm.augment(some, tmp_path, steps=5, per_class=6, model=TINY, **quiet)
    assert len(lm.load(tmp_path / "models" / "seed0").data.train) == len(labels)
    receipts = json.loads((tmp_path / "receipts.json").read_text())
    parents = [parent for receipt in receipts for parent in receipt["parents"]]
    assert parents
    for parent in parents:
        assert parent["weight"] == 0.5
        assert known[parent["row"]] == 0  # the rare class
        assert sha256(digits.train.images[parent["row"]]) == parent["sha256"]
    page = (tmp_path / "verdict.html").read_text()
    counts = "0 (5), 1 (20), 2 (20), and 45 without a label, from which only the mixing model learns."
    assert f"Training images: {counts}" in page


def test_what_cannot_be_judged_is_refused(digits: Data, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not empty"):
        lm.augment(digits, tmp_path)
    with pytest.raises(ValueError, match="takes 5 paired"):
        lm.augment(digits, tmp_path / "new", seeds=4)
    for method in ("classifier", "gan", {"name": "semi_supervised"}):
        with pytest.raises(ValueError, match="cannot encode and decode images, so it mixes none"):
            lm.augment(digits, tmp_path / "new", model={"method": method})
    assert not (tmp_path / "new").exists()
    bare = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=None))
    with pytest.raises(ValueError, match="needs labels"):
        lm.augment(bare, tmp_path / "new")


def test_rare_classes_and_what_is_judged(digits: Data) -> None:
    assert rare(digits) == [0]
    split, words = what_is_judged(digits, [0])
    assert split.labels is not None
    assert split.labels.unique().tolist() == [0]
    assert "rare" in words
    assert "all classes" in what_is_judged(digits, [0, 1, 2])[1]


def test_rows_are_drawn_from_their_class() -> None:
    by = _ByClass(torch.tensor([2, 0, 2, 1, 0, 2]), 4)
    y = torch.tensor([0, 0, 1, 2, 2, 2])
    assert by(y, torch.tensor([0.0, 0.9, 0.5, 0.0, 0.4, 0.99])).tolist() == [1, 4, 3, 0, 2, 5]
    assert by.sizes.tolist() == [2, 1, 3, 0]


def test_moves_keep_what_is_not_chosen() -> None:
    x, g = torch.rand(4, 1, 8, 8), torch.Generator().manual_seed(0)
    assert torch.equal(moved(x, 0.0, g), x)
    assert not torch.allclose(moved(x, 1.0, g), x)
    torch.testing.assert_close(moved(torch.ones(2, 1, 8, 8), 1.0, g), torch.ones(2, 1, 8, 8))


def test_arms_differ_only_in_what_they_draw(digits: Data) -> None:
    pools = {"blends": blends(digits, [0], 6), "mixes": blends(digits, [0], 6, seed=1)}
    nets = {arm.name: train(arm, 0.5, 0.5, digits, pools, seed=0, steps=1).state_dict() for arm in ARMS}
    again = train(ARMS[1], 0.5, 0.5, digits, pools, seed=0, steps=1).state_dict()
    assert all(torch.equal(again[key], nets["balanced"][key]) for key in again)
    assert not torch.equal(nets["mixes"]["head.weight"], nets["pixel blends"]["head.weight"])


def test_recall_is_the_mean_over_classes() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    assert recall(torch.tensor([1, 1, 0, 0]).double(), labels) == pytest.approx(1 / 3)


def test_the_error_by_hand() -> None:
    """Two seeds with recalls 1/2 and 1/4; images of class 0 with means 1 and 1/2, of class 1 with 0."""
    arm = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]]).double()
    labels = torch.tensor([0, 0, 1, 1])
    [found] = compare({"a": arm, "b": torch.zeros(2, 4).double()}, labels, [("a", "b")])
    assert found.difference == pytest.approx(3 / 8)
    assert found.error == pytest.approx(((1 / 32) / 2 + (1 / 8) / 2 / 4) ** 0.5)


def test_equal_arms_are_noise_and_a_large_gap_is_not() -> None:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    low, high = ((torch.rand(5, 400, generator=g) < p).double() for p in (0.4, 0.7))
    right = {arm.name: low for arm in ARMS} | {"affine": high}
    verdicts = {c.arm: c.verdict for c in compare(right, labels, PAIRS)}
    assert verdicts.pop("affine") == "helps"
    assert verdicts.pop("affine + mixes") == "hurts"
    assert set(verdicts.values()) == {"noise"}
    assert headline(compare(right, labels, PAIRS))[0] == "hurts"  # added to affine moves, which help
    assert headline(compare({**right, "affine": low}, labels, PAIRS))[0] == "noise"
    assert headline(compare({**right, "affine": low, "mixes": high}, labels, PAIRS))[0] == "helps"


def test_chance_is_called_noise() -> None:
    """Arms that guess, each with its own fixed preferences on the same test images, in 40 trials."""
    g = torch.Generator().manual_seed(0)
    labels, found = torch.arange(240) % 3, 0
    for _ in range(40):
        right = {}
        for arm in ARMS:
            p = (1 / 3 + 0.25 * torch.randn(240, generator=g)).clamp(0, 1)
            right[arm.name] = (torch.rand(5, 240, generator=g) < p).double()
        found += any(c.verdict != "noise" for c in compare(right, labels, PAIRS))
    assert found <= 2


def test_mixes_are_added_to_as_many_moves_as_the_affine_arm_has(digits: Data, monkeypatch) -> None:
    calls: list[tuple[str, float]] = []

    def recorded(arm: Arm, share: float, moves: float, *arguments: Any, **options: Any) -> Any:
        calls.append((arm.name, moves))
        return train(arm, share, moves, *arguments, **options)

    monkeypatch.setattr(augment, "train", recorded)
    pools = [{name: blends(digits, [0], 6, seed=s) for name in ("blends", "mixes")} for s in (0, 1)]
    outcome = judge(digits, pools, what_is_judged(digits, [0])[0], steps=2)
    moves = [moved for name, moved in calls if name == "affine + mixes"]
    assert moves == [share for share in outcome.shares["affine"] for _ in SHARES]


def test_eight_mixes_are_drawn_for_one_that_is_wanted_however_many_these_are(
    digits: Data, monkeypatch
) -> None:
    monkeypatch.setattr("latentmix.metrics.features.classifier.STEPS", 1)
    method = Autoencoder((1, 16, 16), network=Conv(width=4)).eval()
    features = classifier(digits)
    nothing_passes = limits(digits, features)._replace(density=math.inf)
    found = mixes(method, digits, [1], 300, features, nothing_passes)
    assert not len(found)
    apart = 1 - 1 / 40  # of 40 training images, so few are drawn together with themselves
    assert found.dropped["density"] == pytest.approx(8 * 300 * apart, rel=0.1)


def test_judging_needs_pools_only(digits: Data) -> None:
    pools = [{name: blends(digits, [0], 6, seed=s) for name in ("blends", "mixes")} for s in (0, 1)]
    outcome = judge(digits, pools, what_is_judged(digits, [0])[0], steps=2)
    assert {len(shares) for shares in outcome.shares.values()} == {2}
    assert all(0 <= value <= 1 for values in outcome.recalls.values() for value in values)


def test_fit_resample_balances_and_keeps_the_layout() -> None:
    x = np.random.default_rng(0).random((60, 16, 16, 1)).astype(np.float32)
    y = np.array(["many"] * 40 + ["few"] * 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentmix.metrics.features.classifier.STEPS", 20)
        new_x, new_y = lm.fit_resample(x, y, model=TINY)
    assert np.array_equal(new_x[:60], x)
    assert new_x.dtype == x.dtype
    assert new_x.shape[1:] == x.shape[1:]
    assert 60 <= len(new_x) == len(new_y) <= 80
    assert set(new_y[60:]) <= {"few"}


def test_fit_resample_names_what_it_cannot_balance() -> None:
    x = np.random.default_rng(0).integers(0, 256, (41, 16, 16), dtype=np.uint8)
    y = np.arange(41) == 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentmix.metrics.features.classifier.STEPS", 2)
        with pytest.warns(UserWarning, match="too few mixes passed: 0 of 39 for class True"):
            new_x, _ = lm.fit_resample(x, y, model=TINY)
    assert np.array_equal(new_x, x)
    with pytest.raises(ValueError, match=r"images of shape \(16, 12\) are not square"):
        lm.fit_resample(x[:, :, :12], y, model=TINY)
    with pytest.raises(ValueError, match="labels hold one class"):
        lm.fit_resample(x, y * 0, model=TINY)
