from dataclasses import replace

import pytest
import torch

from latentmix import config, parts
from latentmix.data import Split
from latentmix.metrics import features, frechet, honesty, path


@pytest.fixture(autouse=True)
def quick_features(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 40)
    monkeypatch.setattr(features, "_trained", {})


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


def test_the_adversary_is_asked_where_there_is_one(toy_data, toy_method):
    assert "critic" not in honesty.evaluate(toy_method, toy_data, n=10).values
    toy_method.realism = lambda x: (x.mean((1, 2, 3)) > -2).float() * 0.75
    values = honesty.evaluate(toy_method, toy_data, n=10).values
    assert [values[f"critic{suffix}"] for suffix in ("", "_pixels", "_real")] == [0.75] * 3


@pytest.mark.parametrize("name", parts.find("method"))
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
    method = config.build("method", spec, shape=(1, 32, 32), labels=3, attributes=None).eval()
    values = honesty.evaluate(method, replace(toy_data, **splits), n=10).values
    assert ("critic" in values) == (name in {"ae_gan", "amr", "amr_classes", "amr_labels", "amr_learned"})
    if "critic" in values:
        assert 0 < values["critic_real"] < 1


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


def test_path_of_a_method(toy_data, toy_method):
    score = path.evaluate(toy_method, toy_data, n=20, steps=5)
    assert score.values["length"] >= 1
    assert len(score.protocol["profile"]) == 4
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
    with pytest.raises(ValueError, match="lies in"):
        honesty.evaluate(toy_method, toy_data, t=1.5)
