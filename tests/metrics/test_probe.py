from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from latentmix.metrics import decode, encode, evaluating, probe


def test_encode_keeps_order_and_does_not_depend_on_the_batch(toy_data, toy_method):
    split = toy_data.test
    index = torch.tensor([5, 0, 7])
    torch.testing.assert_close(encode(toy_method, split, index), split.pixels(index).flatten(1))
    torch.testing.assert_close(decode(toy_method, encode(toy_method, split)), split.pixels())


def test_shared_codes_are_encoded_once_and_cannot_be_spoilt(toy_data, toy_method, monkeypatch):
    calls = []
    monkeypatch.setattr(toy_method, "encode", lambda x: calls.append(len(x)) or x.flatten(1))
    with evaluating(toy_method):
        encode(toy_method, toy_data.test).zero_()
        assert encode(toy_method, toy_data.test).any()
        assert calls == [1, 300], "one image is looked at first"
    encode(toy_method, toy_data.test)
    assert calls == [1, 300, 300]


def test_encode_refuses_nan_codes(toy_data, toy_method):
    nn.init.constant_(toy_method.autoencoder.encoder[1].weight, float("nan"))
    with pytest.raises(ValueError, match="300 of 300 codes are NaN"):
        encode(toy_method, toy_data.test)


def test_separable_classes_score_one_and_unrelated_labels_at_chance(toy_data, toy_method):
    assert probe.evaluate(toy_method, toy_data).values["offline_accuracy"] == 1
    g = torch.Generator().manual_seed(0)
    for split in (toy_data.train, toy_data.valid, toy_data.test):
        split.labels.copy_(split.labels[torch.randperm(len(split.labels), generator=g)])
    assert probe.evaluate(toy_method, toy_data).values["offline_accuracy"] == pytest.approx(1 / 3, abs=0.1)


def test_probe_is_the_stated_protocol(toy_data, toy_method):
    """The chosen C, fitted once more without a path on standardised codes, gives the same test accuracy."""
    for split, seed in ((toy_data.train, 0), (toy_data.valid, 1), (toy_data.test, 2)):
        noise = torch.randint(0, 200, split.images.shape, generator=torch.Generator().manual_seed(seed))
        split.images.copy_(split.images // 2 + noise // 2)
    score = probe.evaluate(toy_method, toy_data)
    x, test = (s.pixels().flatten(1).double().numpy() for s in (toy_data.train, toy_data.test))
    mean, std = x.mean(0), x.std(0)
    classifier = LogisticRegression(C=score.protocol["C"], max_iter=5000, tol=1e-8)
    classifier.fit((x - mean) / std, toy_data.train.labels)
    expected = classifier.score((test - mean) / std, toy_data.test.labels)
    assert 0.5 < expected < 0.999
    assert score.values["offline_accuracy"] == pytest.approx(expected, abs=0.01)
    assert max(score.protocol["valid_accuracy_by_C"].values()) == score.values["offline_valid_accuracy"]
    assert (score.protocol["n_train"], score.protocol["n_valid"], score.protocol["n_test"]) == (600, 200, 300)


def test_strength_is_chosen_on_validation(contrary_data, toy_method):
    """So strong a penalty that all is "a" is right on validation; on test, as often as there are "a"s."""
    score = probe.evaluate(toy_method, contrary_data)
    assert score.protocol["C"] == min(probe.GRID)
    assert score.values["offline_valid_accuracy"] == 1
    assert score.values["offline_accuracy"] == (contrary_data.test.labels == 0).double().mean()
    truthful = replace(contrary_data, valid=contrary_data.test)
    assert probe.evaluate(toy_method, truthful).values["offline_accuracy"] == 1


def test_scale_of_units_does_not_matter(toy_data, toy_method):
    before = probe.evaluate(toy_method, toy_data)
    with torch.no_grad():
        toy_method.autoencoder.encoder[1].weight *= torch.logspace(-4, 4, 16)[:, None]
    after = probe.evaluate(toy_method, toy_data)
    assert after.values == pytest.approx(before.values, abs=0.01)


def test_constant_units_do_no_harm():
    h = torch.cat([torch.randn(50, 2), torch.full((50, 1), 7.0)], 1)
    probe.standardise(h)
    assert h.isfinite().all()
    assert (h[:, 2] == 0).all()


@pytest.mark.parametrize(("level", "count"), [(37.123, 1000), (-63.49973678588867, 49425)])
def test_a_constant_unit_whose_mean_is_rounded_is_not_blown_up(level, count):
    h, other = torch.full((count, 1), level), torch.full((1, 1), 1.01 * level)
    assert (h.mean(0) != h[0]).all(), "the mean of equal numbers is rounded"
    probe.standardise(h, other)
    assert h.abs().max() < 1e-4
    assert other.item() == pytest.approx(0.01 * level, rel=1e-2)


def test_online_probe_is_reported_where_there_is_one(toy_data, toy_method):
    toy_method.probe = nn.Linear(16, 3)
    values = probe.evaluate(toy_method, toy_data).values
    h = toy_data.test.pixels().flatten(1)
    expected = (toy_method.probe(h).argmax(1) == toy_data.test.labels).float().mean()
    assert values["online_accuracy"] == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, labels=None), "needs labels"),
        (lambda s: replace(s, labels=torch.zeros_like(s.labels)), "at least two classes"),
        (lambda s: replace(s, images=s.images[:0], labels=s.labels[:0]), "needs training images"),
    ],
)
def test_data_without_an_answer_are_refused(toy_data, toy_method, change, message):
    toy_data = replace(toy_data, train=change(toy_data.train))
    with pytest.raises(ValueError, match=message):
        probe.evaluate(toy_method, toy_data)
