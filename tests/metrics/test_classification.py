"""Metrics for classifiers: accuracy, loss and calibration by hand, deformed and attacked images, walks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmix.data import Data, Split
from latentmix.metrics import classification, interpolation, robustness


class Bright(nn.Module):
    """Logits (0, slope m) of images with mean pixel m: class 1 where it is above 0."""

    def __init__(self, slope: float = 4.0, classes: int = 2) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))
        self.pool = nn.Flatten()
        self.classes = classes

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        s = self.slope * self.pool(x).mean(1)
        return torch.stack([torch.zeros_like(s), s, *[s - 99] * (self.classes - 2)], 1)


def greys(values: list[int], labels: list[int], side: int = 8) -> Data:
    images = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, side, side).clone()
    split = Split(images, torch.tensor(labels))
    return Data("greys", split, split, split, ("dark", "bright"), (), "0" * 64)


def test_accuracy_loss_and_calibration_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.2]]).double()
    y = torch.tensor([0, 1, 1, 0])
    p = [1 / (1 + math.exp(-s)) for s in (2.0, 1.0, 3.0, 0.2)]  # confidence of each; the last two are wrong
    found = classification.measures(logits, y, bins=10)
    assert found["accuracy"] == 0.5
    assert found["nll"] == pytest.approx(
        -(math.log(p[0]) + math.log(p[1]) + math.log(1 - p[2]) + math.log(1 - p[3])) / 4
    )
    # 0.88 and 0.95 lie in different tenths, 0.73 and 0.55 too: each image is a bin of its own.
    assert found["ece"] == pytest.approx(((1 - p[0]) + (1 - p[1]) + p[2] + p[3]) / 4)
    # In a single pair of halves all confidences lie in the upper one.
    assert classification.measures(logits, y, bins=2)["ece"] == pytest.approx(abs(0.5 - sum(p) / 4))


def test_calibration_equals_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.classification")
    g = torch.Generator().manual_seed(0)
    logits, y = 2 * torch.randn(500, 6, generator=g), torch.randint(6, (500,), generator=g)
    theirs = functional.multiclass_calibration_error(logits.softmax(1), y, 6, n_bins=15)
    assert classification.measures(logits, y)["ece"] == pytest.approx(float(theirs), abs=1e-5)


def test_a_sure_and_right_classifier_is_calibrated():
    logits = 200 * F.one_hot(torch.arange(12) % 3, 3).float()
    found = classification.measures(logits, torch.arange(12) % 3)
    assert found == {"accuracy": 1.0, "nll": pytest.approx(0), "ece": pytest.approx(0)}


@pytest.mark.parametrize(
    ("logits", "y", "message"),
    [
        (torch.zeros(3, 2), [0, 1, 2], "labels run from 0 to 2, but the method has 2 classes"),
        (torch.zeros(3, 2), [0, 1], "need logits"),
        (torch.full((1, 2), math.nan), [0], "logits are NaN"),
        (torch.zeros(0, 2), [], "need logits"),
    ],
)
def test_what_cannot_be_judged_is_refused(logits, y, message):
    with pytest.raises(ValueError, match=message):
        classification.measures(logits, torch.tensor(y, dtype=torch.long))


def test_evaluate_counts_labelled_images_only():
    data = greys([10, 200, 250, 240], [0, 1, 0, -1])
    score = classification.evaluate(Bright(), data)
    assert score.values["accuracy"] == score.values["accuracy_valid"] == pytest.approx(2 / 3)
    assert score.protocol["n_test"] == 3
    bare = replace(data, test=Split(data.test.images))
    for metric in (classification, robustness, interpolation):
        with pytest.raises(ValueError, match="needs test images with labels"):
            metric.evaluate(Bright(), bare)
    valid = replace(data, valid=Split(data.test.images))
    assert "accuracy_valid" not in classification.evaluate(Bright(), valid).values


def test_robustness_by_hand():
    """Grey 127.5 +- 20.5 of 255: 8/255 does not cross the middle; 20 steps of 2/255 are held within 8/255.

    Images are of one grey: turning one by any angle only darkens corners, and enlarging changes nothing.
    """
    data = greys([107, 148, 107, 148], [0, 1, 0, 1])
    score = robustness.evaluate(Bright(), data)
    values = score.values
    assert values["accuracy"] == 1
    assert values["fgsm_pixels"] == values["pgd_pixels"] == 1
    assert values["fgsm"] == 1  # 0.03 of a deviation of 20.5
    assert values["pgd"] == 0  # 200 steps of 0.01 of it, without a bound: 2 deviations
    assert values["zoom_0.2"] == values["zoom_0.8"] == 1
    assert values["zoom_1.8"] == 0.5  # black around makes all dark
    assert len(values) == 1 + 4 + 5 + 8 + 4
    near = greys([124, 131, 124, 131], [0, 1, 0, 1])
    attacked = robustness.evaluate(Bright(), near).values
    assert attacked["fgsm_pixels"] == attacked["pgd_pixels"] == 0
    assert attacked["fgsm"] == 1
    assert score.protocol["n"] == score.protocol["n_pgd"] == 4


def test_robustness_is_decided_by_the_seed_alone(toy_data):
    torch.manual_seed(0)

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def classify(self, x):
            return self.layer(x.flatten(1))

    method = Linear()
    first = robustness.evaluate(method, toy_data, n=100, n_pgd=3)
    torch.manual_seed(5)
    assert robustness.evaluate(method, toy_data, n=100, n_pgd=3) == first
    assert robustness.evaluate(method, toy_data, n=100, n_pgd=3, seed=1) != first
    assert all(p.grad is None for p in method.parameters())


def test_the_loss_between_images_by_hand():
    """A linear classifier of two greys +-1: half way the logits are 0, and the loss log 2."""
    data = greys([0, 255], [0, 1])
    score = interpolation.evaluate(Bright(slope=4.0), data, steps=5)

    def plain(s):  # loss of a logit s for its own class
        return math.log1p(math.exp(-s))

    def mixed(lam):  # the grey is 2 lam - 1 from dark to bright
        s = 4 * (2 * lam - 1)
        return lam * plain(s) + (1 - lam) * plain(-s)

    expected = [mixed(lam) for lam in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert score.protocol["nll"] == pytest.approx(expected, rel=1e-5)
    assert score.values["nll_largest"] == pytest.approx(math.log(2), rel=1e-5)
    assert score.values["nll_ends"] == pytest.approx(plain(4.0), rel=1e-5)
    assert score.values["nll_mean"] == pytest.approx(sum(expected) / 5, rel=1e-5)
    hidden = interpolation.evaluate(Bright(slope=4.0), data, steps=5, layer="pool")
    assert hidden.values == pytest.approx(score.values, rel=1e-5)  # all is linear before the logits
    with pytest.raises(ValueError, match="'pol'; the nearest are pool"):
        interpolation.evaluate(Bright(), data, layer="pol")
