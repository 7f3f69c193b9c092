import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentmix.metrics import frechet
from latentmix.metrics.features import classifier as features


def whitened(n, d, seed):
    """Samples whose mean is exactly 0 and covariance exactly 1."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    x = x - x.mean(0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T


def gaussian(n, mean, covariance, seed):
    return mean + whitened(n, len(mean), seed) @ np.linalg.cholesky(covariance).T


def test_frechet_equals_the_closed_form_where_covariances_commute():
    d = 12
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
    v1, v2 = np.linspace(0.1, 5, d), np.linspace(3, 0.2, d)
    m1, m2 = np.zeros(d), np.linspace(-1, 2, d)
    a = gaussian(300, m1, turn * v1 @ turn.T, 1)
    b = gaussian(500, m2, turn * v2 @ turn.T, 2)
    exact = ((m1 - m2) ** 2).sum() + ((np.sqrt(v1) - np.sqrt(v2)) ** 2).sum()
    assert frechet.frechet(a, b) == pytest.approx(exact, rel=1e-6)


def test_frechet_equals_the_matrix_root_where_they_do_not():
    import scipy.linalg

    rng = np.random.default_rng(3)
    s1, s2 = (x @ x.T + 0.1 * np.eye(6) for x in rng.normal(size=(2, 6, 6)))
    m1, m2 = rng.normal(size=(2, 6))
    root = scipy.linalg.sqrtm(s1 @ s2).real
    exact = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert frechet.frechet(gaussian(50, m1, s1, 0), gaussian(70, m2, s2, 1)) == pytest.approx(exact, rel=1e-6)


def test_frechet_of_a_set_with_itself_and_its_shift():
    a = whitened(100, 5, 0)
    assert frechet.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet.frechet(a, a + 2) == pytest.approx(20, rel=1e-9)
    assert frechet.frechet(torch.from_numpy(a), a + 2) == pytest.approx(frechet.frechet(a + 2, a), rel=1e-12)


def test_distances_equal_torchmetrics_with_the_same_features():
    torchmetrics = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed")
    kid = pytest.importorskip("torchmetrics.image.kid")
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        num_features = 8

        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3 * 8 * 8, 8)

        def forward(self, x):
            return self.linear((x / 255).flatten(1).to(self.linear.weight.dtype))

    net = Net().eval()
    real = torch.randint(0, 256, (300, 3, 8, 8), dtype=torch.uint8)
    fake = (real.flip(0) // 2 + 40).to(torch.uint8)
    theirs = torchmetrics.FrechetInceptionDistance(feature=net, input_img_size=(3, 8, 8))
    theirs.set_dtype(torch.float64)
    kernel = kid.KernelInceptionDistance(feature=net, subsets=1, subset_size=300)
    for metric in (theirs, kernel):
        metric.update(real, real=True)
        metric.update(fake, real=False)
    with torch.no_grad():
        a, b = net(real), net(fake)
    assert frechet.frechet(a, b) == pytest.approx(float(theirs.compute()), rel=1e-4)
    assert frechet.kernel(a, b, subsets=1) == pytest.approx(float(kernel.compute()[0]), rel=1e-4)


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    same = [frechet.kernel(*rng.normal(size=(2, 30, 4)), subsets=1) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(200)
    assert frechet.kernel(rng.normal(size=(100, 4)), rng.normal(size=(100, 4)) + 1) > 0.5


def test_precision_and_recall_keep_their_roles():
    """Fakes from one of two real clusters: all are realistic, half of the real ones is missed."""
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 50])
    one = rng.normal(size=(400, 2))
    score = frechet.precision_recall(real, one)
    assert score["precision"] > 0.9 > 0.6 > score["recall"] > 0.4
    assert score["coverage"] == pytest.approx(0.5, abs=0.05)
    assert score["density"] > 0.9
    swapped = frechet.precision_recall(one, real)
    assert swapped["precision"] == pytest.approx(score["recall"])
    assert swapped["recall"] == pytest.approx(score["precision"])


def test_precision_recall_density_coverage_by_hand():
    real, fake = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [9.0], [10.0]])
    # Balls to the nearest other: real (0, r=1), (1, r=1), (3, r=2); fakes (0.5, r=8.5), (9, r=1), (10, r=1).
    score = frechet.precision_recall(real, fake, k=1, k_density=1)
    assert score == {
        "precision": 1 / 3,
        "recall": 1.0,
        "density": pytest.approx(2 / 3),
        "coverage": pytest.approx(2 / 3),
    }


def test_class_score_between_its_bounds():
    assert frechet.class_score(torch.eye(7)) == pytest.approx(7, rel=1e-6)
    assert frechet.class_score(torch.full((5, 7), 1 / 7)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("function", "a", "b", "message"),
    [
        (frechet.frechet, np.zeros((30, 20)), np.zeros((90, 20)), "give 40 or more"),
        (frechet.frechet, np.zeros((30, 2)), np.zeros((30, 3)), r"\(N, D\)"),
        (frechet.frechet, np.full((30, 2), np.nan), np.zeros((30, 2)), "real features contain NaN"),
        (frechet.kernel, np.zeros((9, 2)), np.zeros((90, 2)), "give 10"),
        (frechet.precision_recall, np.zeros((5, 2)), np.zeros((90, 2)), "too few for 5 neighbours"),
    ],
)
def test_too_few_and_bad_samples_are_refused(function, a, b, message):
    with pytest.raises(ValueError, match=message):
        function(a, b)


def test_evaluate_puts_real_images_nearer_than_mixes(toy_data, toy_method, monkeypatch):
    monkeypatch.setattr(features, "STEPS", 40)
    score = frechet.evaluate(toy_method, toy_data, n=200)
    # The toy method's codes are pixels: it rebuilds exactly, and its mixes are double exposures.
    assert score.values["frechet_reconstruction"] == pytest.approx(score.values["frechet_real"], rel=1e-3)
    assert score.values["frechet"] > 2 * score.values["frechet_real"]
    assert score.values["class_score"] < score.values["class_score_real"] <= 3
    again = frechet.evaluate(toy_method, toy_data, n=200)
    assert again == score
    assert len(str(score.protocol["fingerprint"])) == 16


def test_reconstructions_and_real_images_keep_their_names(toy_data, lossy_method, pixel_features):
    """Test images that are the training images are at distance 0; at half their contrast it is known.

    N(m, S) and N(m / 2, S / 4) are |m|^2 / 4 + tr S / 4 apart.
    """
    few = toy_data.train.take(slice(100))
    data = replace(toy_data, train=few, test=few)
    x = few.pixels().flatten(1).double()
    values = frechet.evaluate(lossy_method, data, draws=2).values
    assert values["frechet_real"] == pytest.approx(0, abs=1e-6)
    expected = (x.mean(0).square().sum() + x.var(0).sum()) / 4
    assert values["frechet_reconstruction"] == pytest.approx(expected.item(), rel=1e-6)
    assert values["kernel_real"] == pytest.approx(frechet.kernel(x, x, subsets=1), abs=1e-6)
    assert values["kernel_reconstruction"] == pytest.approx(frechet.kernel(x, x / 2, subsets=1), rel=1e-5)


def test_interval_by_hand(toy_data, toy_method, pixel_features):
    """Draws of mixes that are real images, 16 pixels brighter by 1, then by 2: distances 16 and 64.

    Their mean is 40 and its standard error 24; the t value of two draws is 12.706.
    """
    few = toy_data.train.take(slice(64))  # one batch of mixes a draw
    brighter = iter([1.0, 2.0])

    def mixer(h, generator):
        shift = next(brighter)
        return lambda h: h + shift

    toy_method.mixer = mixer
    values = frechet.evaluate(toy_method, replace(toy_data, train=few, test=few), draws=2).values
    assert values["frechet"] == pytest.approx(40, rel=1e-4)
    assert values["frechet_low"] == pytest.approx(40 - 12.706 * 24, rel=1e-4)
    assert values["frechet_high"] == pytest.approx(40 + 12.706 * 24, rel=1e-4)


def test_feature_network_needs_classes(toy_data, toy_method):
    toy_data.train.labels.zero_()
    with pytest.raises(ValueError, match="two classes"):
        frechet.evaluate(toy_method, toy_data)


@pytest.mark.parametrize("score", [frechet.frechet, frechet.kernel, frechet.precision_recall])
def test_features_may_be_views_with_negative_strides(score):
    x, y = np.random.default_rng(0).normal(size=(2, 60, 4))
    assert score(x[::-1], y[:, ::-1]) == score(x[::-1].copy(), y[:, ::-1].copy())
