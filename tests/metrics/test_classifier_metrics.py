"""Metrics of classifiers and of the analyses, on methods whose answers are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data import Data, Split
from latentmix.data.sources import spiral
from latentmix.methods.amr import AMR
from latentmix.methods.amr_classes import AMRClasses
from latentmix.methods.classifier import Classifier
from latentmix.metrics import attribute_mixes, blend, interpolation, on_spiral, robustness, spread
from latentmix.metrics.robustness import bce_on_softmax
from latentmix.networks.bottleneck import BottleneckPerceptron
from latentmix.networks.mlp import MLP
from latentmix.networks.resnet import PreActResNet


def data(count: int = 30, side: int = 8, channels: int = 3) -> Data:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, channels, side, side), generator=g, dtype=torch.uint8)
    split = Split(x, torch.arange(count) % 3)
    return Data("noise", split, split, split, ("a", "b", "c"), (), "0" * 64)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    method = Classifier((3, 8, 8), 3, network=PreActResNet(18, 2))
    method.begin(data().train.images, None)
    return method.eval()


def test_attacks_by_hand(classifier: Classifier) -> None:
    """The published step is 0.03 in standardised images, whatever the range of the pixels."""
    found = robustness.evaluate(classifier, data(), n=30, n_pgd=2).values
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    test = data().test.take(order)
    assert test.labels is not None
    x = classifier.prepare(test.pixels()).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(bce_on_softmax(classifier.network(x), test.labels), x)
    right = classifier.network(x + 0.03 * gradient.sign()).argmax(1) == test.labels
    assert found["fgsm"] == pytest.approx(right.float().mean().item())
    pixels = (test.images / 255).requires_grad_()
    (gradient,) = torch.autograd.grad(
        F.cross_entropy(classifier.classify(2 * pixels - 1), test.labels), pixels
    )
    moved = (pixels + 8 / 255 * gradient.sign()).clamp(0, 1)
    right = classifier.classify(2 * moved - 1).argmax(1) == test.labels
    assert found["fgsm_pixels"] == pytest.approx(right.float().mean().item())
    assert 0 <= found["pgd"] <= 1


def test_interpolation_has_a_curve_for_each_layer(classifier: Classifier) -> None:
    score = interpolation.evaluate(classifier, data(), steps=5, layers=("input", "layer1", "network.layer2"))
    curves = score.protocol["curves"]
    assert isinstance(curves, dict)
    assert {name: len(curve) for name, curve in curves.items()} == dict.fromkeys(
        ("input", "layer1", "network.layer2"), 5
    )
    assert score.values["middle_input"] == curves["input"][2]
    # Nothing is mixed at the ends, so that all places agree there.
    assert curves["input"][-1] == pytest.approx(curves["network.layer2"][-1], rel=1e-4)


def test_spread_ratio_of_known_classes() -> None:
    # Two classes at -3 and 3, each of two points 1 to either side: 9 between, 1 within.
    codes = torch.tensor([[-4.0, 0.0], [-2.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    labels = torch.tensor([2, 2, 7, 7])
    assert spread.spread_ratio(codes, labels) == pytest.approx(9)
    turned = codes @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) * 5 + 1
    assert spread.spread_ratio(turned, labels) == pytest.approx(9)
    assert spread.spread_ratio(codes, torch.tensor([0, 1, 1, 0])) == pytest.approx(0)


def test_codes_of_a_bottleneck() -> None:
    torch.manual_seed(0)
    method = Classifier((3, 8, 8), 3, network=BottleneckPerceptron(2, 8), layers=("bottleneck",)).eval()
    codes = spread.codes_of(method, data().test)
    assert codes.shape == (30, 2)
    torch.testing.assert_close(
        method.network.get_submodule("head")(codes), method.classify(data().test.pixels()).detach()
    )
    with pytest.raises(ValueError, match="bottleneck"):
        spread.codes_of(Classifier((3, 8, 8), 3, network=PreActResNet(18, 2)), data().test)


class Pixels(nn.Module):
    """Codes are the images, or their squares: mixing codes is mixing pixels, or is not."""

    code_shape = (3, 8, 8)

    def __init__(self, square: bool) -> None:
        super().__init__()
        self.square, self.weight = square, nn.Parameter(torch.zeros(()))

    def encode(self, x: Tensor) -> Tensor:
        return x**3 if self.square else x

    def decode(self, h: Tensor) -> Tensor:
        return h.sign() * h.abs() ** (1 / 3) if self.square else h


def test_mixing_pixels_is_not_apart_from_a_blend() -> None:
    plain = blend.evaluate(Pixels(False), data()).values
    assert plain["apart_from_blend"] == pytest.approx(0, abs=1e-10)
    bent = blend.evaluate(Pixels(True), data()).values
    assert bent["error"] == pytest.approx(0, abs=1e-6)
    x = data().test.pixels()
    middle = ((x**3 + x.roll(1, 0) ** 3) / 2).sign() * ((x**3 + x.roll(1, 0) ** 3) / 2).abs() ** (1 / 3)
    expected = (middle - (x + x.roll(1, 0)) / 2).square().mean().item()
    assert bent["apart_from_blend"] == pytest.approx(expected, rel=1e-4)


class Perfect(AMR):
    """Codes are the places along the spiral, so that every mix is on it."""

    def encode(self, x: Tensor) -> Tensor:
        radius = x.flatten(1).norm(dim=1, keepdim=True).clamp(spiral.INNER, spiral.OUTER)
        return torch.cat([radius, torch.zeros_like(radius)], 1)

    def decode(self, h: Tensor) -> Tensor:
        return spiral._at(h[:, 0])[:, :, None, None]


def test_mixes_along_the_spiral_score_one() -> None:
    points = Data("spiral", *[Split(spiral.draw(20))] * 3, (), (), "0" * 64, source="spiral")
    method = Perfect((2, 1, 1), network=MLP(d_h=2, width=8, spectral=False)).eval()
    found = on_spiral.evaluate(method, points).values
    assert found["mixes_on_spiral"] == found["reconstructions_on_spiral"] == 1
    assert found["mix_distance"] < 1e-3
    assert found["inconsistency"] < 1e-4
    # Bands of +-0.05 around arms 0.4 apart cover a quarter of the disc; some pairs share an arm.
    assert 0.25 < found["blends_on_spiral"] < 0.45
    with pytest.raises(ValueError, match="on_spiral needs data=spiral"):
        on_spiral.evaluate(method, data())


SHAPE = (1, 16, 16)


def halves(x1: Tensor, x2: Tensor) -> Tensor:
    """Attributes as pixels: the first lights the upper half of the image, the second the lower."""
    image = -torch.ones(SHAPE)
    image[:, :8], image[:, 8:] = 2 * x1 - 1, 2 * x2 - 1
    return image


@pytest.mark.parametrize(("right", "share"), [(True, 1.0), (False, 0.0)])
def test_agreement_counts_what_was_wanted(right: bool, share: float) -> None:
    """Codes are the attributes; masks take each from the parent that has what is wanted, or the other."""
    torch.manual_seed(0)
    method = AMRClasses(SHAPE, None, 2, network=MLP(d_h=2, width=8), parents=True)
    method.encode = lambda x: torch.stack([x[:, 0, 0, 0], x[:, 0, 15, 0]], 1)  # type: ignore[method-assign]
    method.decode = lambda h: torch.stack([halves((a + 1) / 2, (b + 1) / 2) for a, b in h])  # type: ignore[method-assign]
    method.critic.classify = lambda x: torch.stack([x[:, 0, 0, 0], x[:, 0, 15, 0]], 1)
    method.probabilities = lambda y, y1, y2: ((y == y1) == right).float()  # type: ignore[method-assign]
    y = torch.tensor([[[1.0, 0], [0, 1]], [[1, 0], [1, 1]], [[1, 1], [1, 1]]])
    x = torch.stack([torch.stack([halves(*a) for a in pair]) for pair in y])
    assert attribute_mixes.agreement(method, x, y) == {"mixes": share, "parents": 1.0}
    with pytest.raises(ValueError, match="needs pairs of images that differ"):
        attribute_mixes.agreement(method, torch.zeros(1, 2, *SHAPE), torch.ones(1, 2, 2))


def test_pairs_differ() -> None:
    g = torch.Generator().manual_seed(0)
    black = torch.zeros(50, *SHAPE, dtype=torch.uint8)
    split = Split(black, None, torch.randint(2, (50, 2), generator=g).byte())
    x, y = attribute_mixes.pairs(split, 5, 2)
    assert x.shape == (5, 2, *SHAPE)
    assert ((y[:, 0] != y[:, 1]).sum(1) == 2).all()
    with pytest.raises(ValueError, match="needs data with attributes or labels"):
        attribute_mixes.pairs(Split(black), 2, 2)
