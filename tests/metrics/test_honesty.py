from dataclasses import replace

import pytest
import torch

from latentmix import config
from latentmix.config import catalogue
from latentmix.data import Split
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import frechet, honesty, path
from latentmix.metrics.features import classifier as features


@pytest.fixture(autouse=True)
def quick_features(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 40)


def images(n, seed):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.7, 0.3), (0.2, 0.5, 0.3)])
def test_blends_are_ghosts_parents_are_collapsed_and_others_are_neither(shares):
    parents = torch.stack([images(20, seed) for seed in range(len(shares))])
    a = torch.tensor(shares)[:, None].expand(-1, 20)
    blend = (a[..., None, None, None] * parents).sum(0)
    ghosting, collapse = honesty.exposures(blend, parents, a)
    torch.testing.assert_close(ghosting, torch.ones(20).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(collapse, torch.zeros(20).double(), atol=1e-5, rtol=0)
    ghosting, collapse = honesty.exposures(parents[-1], parents, a)
    torch.testing.assert_close(collapse, torch.ones(20).double())
    assert (ghosting < 1e-5).all()
    ghosting, collapse = honesty.exposures(-3 * parents[0], parents, a)
    assert (ghosting < 0.05).all()
    assert (collapse == 0).all()


def test_exposures_by_hand():
    """Parents -1 and 1, blend 0, scale 1: a mix at 0.25 is 75 % ghost, and 25 % of the way to a parent."""
    parents = torch.stack([torch.full((1, 1, 2, 2), -1.0), torch.ones(1, 1, 2, 2)])
    ghosting, collapse = honesty.exposures(torch.full((1, 1, 2, 2), 0.25), parents, torch.full((2, 1), 0.5))
    assert float(ghosting) == pytest.approx(0.75)
    assert float(collapse) == pytest.approx(0.25)


def test_the_same_parent_twice_has_no_answer():
    x = images(3, 0)
    for column in honesty.exposures(x, torch.stack([x, x]), torch.full((2, 3), 0.5)):
        assert column.isnan().all()


def test_density_is_the_one_of_the_set_score():
    real, fake = images(50, 0).flatten(1), images(30, 1).flatten(1)
    expected = frechet.precision_recall(real, fake, k_density=honesty.K)["density"]
    assert float(honesty.density(real, fake).mean()) == pytest.approx(expected)
    assert (honesty.density(real, fake + 100) == 0).all()


def test_nearest_training_image_is_found(toy_data):
    index = torch.tensor([5, 599, 0])
    distance, found = honesty.nearest_training(toy_data.train.pixels(index) + 0.001, toy_data)
    assert found.tolist() == index.tolist()
    torch.testing.assert_close(distance, torch.full((3,), 0.001), atol=1e-3, rtol=0)


def test_pairs_have_different_classes(toy_data):
    first, second = honesty.pairs(toy_data, 500, torch.Generator().manual_seed(0))
    assert (toy_data.test.labels[first] != toy_data.test.labels[second]).all()


def test_pixel_codes_make_double_exposures(toy_data, toy_method):
    """The toy codes are the pixels, so their straight line is the blend, and masks are half of each image."""
    lerp = honesty.evaluate(toy_method, toy_data, n=100)
    for name in ("density", "realistic", "ghosting", "collapse", "confidence", "parent_classes", "memory"):
        assert lerp.values[name] == pytest.approx(lerp.values[f"{name}_pixels"], abs=1e-4)
    assert lerp.values["ghosting"] == pytest.approx(1, abs=1e-4)
    assert lerp.values["density"] < lerp.values["density_real"]
    assert 0.3 < lerp.values["density_real"] < 3
    masks = honesty.evaluate(toy_method, toy_data, n=100, path="crossover")
    assert masks.values["ghosting"] < 0.2
    end = honesty.evaluate(toy_method, toy_data, n=100, t=0.02)
    assert end.values["memory"] == pytest.approx(1, abs=0.2)


def test_the_adversary_is_asked_where_there_is_one(toy_data, lossy_method, pixel_features):
    """One that reports the mean of an image: decoding halves that of a blend."""
    assert "critic" not in honesty.evaluate(lossy_method, toy_data, n=10).values
    lossy_method.realism = lambda x: x.mean((1, 2, 3))
    values = honesty.evaluate(lossy_method, toy_data, n=10).values
    first, second = honesty.pairs(toy_data, 10, torch.Generator().manual_seed(0))
    a, b = (toy_data.test.pixels(i).mean().item() for i in (first, second))
    assert values["critic_real"] == pytest.approx(a, abs=1e-6)
    assert values["critic_pixels"] == pytest.approx((a + b) / 2, abs=1e-6)
    assert values["critic"] == pytest.approx((a + b) / 4, abs=1e-6)


@pytest.mark.parametrize("t", [0.3, 0.5])
def test_a_decoders_blur_is_no_merit(toy_data, lossy_method, pixel_features, t):
    """Decoding halves contrast: each mix is the blend of its *decoded* parents, shares 1 - t and t."""
    values = honesty.evaluate(lossy_method, toy_data, n=50, t=t).values
    for suffix in ("", "_pixels"):
        assert values["ghosting" + suffix] == pytest.approx(1, abs=1e-5)
        assert values["collapse" + suffix] == pytest.approx(0, abs=1e-5)


def test_a_decoders_blur_is_no_fault(toy_data, lossy_method, pixel_features):
    """A crossover that takes 0 of 16 units from the second code is the first parent, decoded: collapse 1."""
    assert honesty.evaluate(lossy_method, toy_data, n=50, t=0.02, path="crossover").values[
        "collapse"
    ] == pytest.approx(1, abs=1e-5)


def test_the_parents_classes_are_those_of_both(dark_and_bright, toy_method, pixel_features):
    """Of two classes, parents of different ones have both: probability 1, whatever the classifier thinks."""
    values = honesty.evaluate(toy_method, dark_and_bright, n=10).values
    assert values["confidence"] < 0.99
    assert values["parent_classes"] == pytest.approx(1, abs=1e-6)
    assert values["parent_classes_pixels"] == pytest.approx(1, abs=1e-6)


AUTOENCODERS = [
    name
    for name, part in catalogue.find("method").items()
    if issubclass(part.make, AutoencoderMethod)  # type: ignore[arg-type]
]


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_mixes_of_every_method_are_judged(name, toy_data):
    """Critics of codes, of how much is mixed, and judges by reconstruction have no say."""
    torch.manual_seed(0)
    spec = config.resolve({"method": name}).method
    small = {"width": 4, "depth": 4, "codewords": 8}
    for options in (spec, spec.get("network", {})):
        options |= {key: value for key, value in small.items() if key in options}
    g = torch.Generator().manual_seed(0)
    splits = {
        key: Split(torch.randint(0, 256, (60, 1, 32, 32), generator=g).byte(), torch.arange(60) % 3)
        for key in ("train", "valid", "test")
    }
    data = replace(toy_data, **splits)
    method = config.build("method", spec, shape=(1, 32, 32), num_classes=3, num_attributes=None).eval()
    assert isinstance(method, Autoencodes)
    values = honesty.evaluate(method, data, n=10).values
    assert ("critic" in values) == (name in {"ae_gan", "amr", "amr_classes", "amr_labels", "amr_learned"})
    if "critic" in values:
        first, _ = honesty.pairs(data, 10, torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = method.realism(data.test.pixels(first)).mean()
        assert values["critic_real"] == pytest.approx(expected.item(), rel=1e-4)


def test_classes_that_training_never_showed_and_images_without_labels_are_taken_as_they_are(
    toy_data, toy_method
):
    few = toy_data.train.labels != 2  # the third class is in the test images alone
    labels = toy_data.test.labels.clone()
    labels[::3] = -1
    data = replace(toy_data, train=toy_data.train.take(few), test=replace(toy_data.test, labels=labels))
    values = honesty.evaluate(toy_method, data, n=50).values
    assert 0 <= values["parent_classes"] <= 1
    first, second = honesty.pairs(data, 200, torch.Generator().manual_seed(0))
    assert (labels[first] >= 0).all()
    assert (labels[second] >= 0).all()


def test_the_probability_of_the_parents_classes_is_their_sum(toy_data, toy_method):
    net = features.classifier(toy_data)
    a, b = toy_data.test.pixels()[:20], toy_data.test.pixels()[20:40]
    judge = honesty.Judge(toy_method, toy_data, net, net.describe(toy_data.train.pixels())[0])
    shares = torch.full((2, 20), 0.5)
    p = net.describe(a)[1]
    for classes, expected in (((0, 2), p[:, 0] + p[:, 2]), ((1, 1), p[:, 1])):
        rows = judge.rows(a, torch.stack([a, b]), shares, torch.tensor(classes)[:, None].expand(2, 20))
        torch.testing.assert_close(rows["parent_classes"], expected)
    assert "parent_classes" not in judge.rows(a, torch.stack([a, b]), shares)


def test_the_accuracy_of_features_is_that_of_the_data_at_hand(toy_data):
    bare = replace(toy_data, valid=Split(toy_data.valid.images))
    assert features.classifier(bare).accuracy is None
    known = features.classifier(toy_data)
    assert known.accuracy > 0.9
    turned = replace(toy_data.valid, labels=(toy_data.valid.labels + 1) % 3)
    assert features.classifier(replace(toy_data, valid=turned)).accuracy < 0.1
    strided = toy_data.train.images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    same = features.classifier(replace(toy_data, train=replace(toy_data.train, images=strided)))
    assert same.fingerprint == known.fingerprint


def test_profile_of_even_and_of_abrupt_walks():
    t = torch.linspace(0, 1, 17)
    ends = torch.randn(6, 1, 3, generator=torch.Generator().manual_seed(0))
    even, speed = path.profile(t[None, :, None] * ends)
    assert even["length"] == pytest.approx(1, abs=1e-6)
    assert even["peak"] == pytest.approx(1, abs=1e-4)
    assert even["asymmetry"] == pytest.approx(0, abs=1e-4)
    assert speed.tolist() == pytest.approx([1] * 16, abs=1e-4)
    abrupt, _ = path.profile((t >= 0.9).float()[None, :, None] * ends)
    assert abrupt["length"] == pytest.approx(1)
    assert abrupt["peak"] == pytest.approx(16)
    assert abrupt["peak_position"] == pytest.approx(14.5 / 16)
    assert abrupt["asymmetry"] == pytest.approx(1)
    detour = torch.stack([t, (t - 0.5).abs()], 1)[None]
    assert path.profile(detour)[0]["length"] == pytest.approx(2**0.5, rel=1e-5)


@pytest.mark.parametrize(("kind", "length"), [("lerp", 1), ("crossover", 2)])
def test_path_of_pixel_codes(dark_and_bright, toy_method, pixel_features, kind, length):
    """Straight lines are even, of length 1; each of 4 masks changes 4 of 16 equal pixels: 4 sqrt(4 / 16)."""
    score = path.evaluate(toy_method, dark_and_bright, n=20, steps=5, path=kind)
    assert score.values["length"] == pytest.approx(length, rel=1e-4)
    assert score.values["peak"] == pytest.approx(1, rel=1e-4)
    assert score.values["asymmetry"] == pytest.approx(0, abs=1e-4)
    assert score.protocol["profile"] == pytest.approx([length] * 4, rel=1e-4)


def test_path_leads_to_the_other_class(dark_and_bright, toy_method, pixel_features):
    """All that a decoder shows is whether a code is bright, so each walk to the other class is one jump.

    A walk within a class has next to nothing to show, and shows it evenly: peak 1 instead of 4.
    """
    toy_method.decode = lambda h: ((h > 0) + h / 1000).unflatten(1, (1, 4, 4))
    score = path.evaluate(toy_method, dark_and_bright, n=100, steps=5)
    assert score.values["peak"] == pytest.approx(4, rel=0.01)
    assert score.values["asymmetry"] == pytest.approx(1, rel=0.01)


def test_walks_that_lead_nowhere_are_refused():
    with pytest.raises(ValueError, match="same image"):
        path.profile(torch.ones(2, 5, 3))


@pytest.mark.parametrize("metric", [honesty, path])
def test_one_class_is_refused(toy_data, toy_method, metric):
    test = replace(toy_data.test, labels=torch.zeros_like(toy_data.test.labels))
    with pytest.raises(ValueError, match="two classes"):
        metric.evaluate(toy_method, replace(toy_data, test=test))


def test_bad_shapes_and_positions_are_refused(toy_data, toy_method):
    with pytest.raises(ValueError, match=r"got \(3, 1, 4, 4\)"):
        honesty.exposures(images(3, 0), images(3, 1)[None, :2], torch.ones(1, 2))
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        honesty.evaluate(toy_method, toy_data, t=1.5)
