"""kNN, the deeper probe and few labels."""

from dataclasses import replace

import pytest
import torch

from latentmix.data import Split
from latentmix.metrics import deep_probe, few_labels, knn


def test_knn_equals_a_slow_vote():
    g = torch.Generator().manual_seed(0)
    h, y = torch.randn(60, 5, generator=g).double(), torch.randint(4, (60,), generator=g)
    h_test, y_test = torch.randn(40, 5, generator=g).double(), torch.randint(4, (40,), generator=g)
    correct = 0
    for a, label in zip(h_test, y_test):
        cosine = [float(a @ b / a.norm() / b.norm()) for b in h]
        votes = [0.0] * 4
        for i in sorted(range(60), key=lambda i: -cosine[i])[:7]:
            votes[y[i]] += 2.718281828459045 ** (cosine[i] / 0.3)
        correct += votes.index(max(votes)) == label
    assert knn.accuracy(h, y, h_test, y_test, k=7, temperature=0.3) == correct / 40


def test_knn_ignores_the_length_of_codes(toy_data, toy_method):
    before = knn.evaluate(toy_method, toy_data, k=10).values
    with torch.no_grad():
        toy_method.autoencoder.encoder[1].weight *= 1000
    assert knn.evaluate(toy_method, toy_data, k=10).values == pytest.approx(before)


@pytest.mark.parametrize(("k", "temperature"), [(0, 0.1), (5, 0.0)])
def test_knn_refuses_bad_settings(toy_data, toy_method, k, temperature):
    with pytest.raises(ValueError, match=r"k=|temperature="):
        knn.evaluate(toy_method, toy_data, k=k, temperature=temperature)


@pytest.mark.parametrize("metric", [knn, deep_probe, few_labels])
def test_separable_classes_score_one(toy_data, toy_method, metric):
    options = {"steps": 100} if metric is deep_probe else {}
    values = metric.evaluate(toy_method, toy_data, **options).values
    accuracies = [v for name, v in values.items() if not name.endswith("deviation")]
    assert min(accuracies) == pytest.approx(1, abs=0.01)


def test_deep_probe_reads_what_a_linear_one_cannot(toy_data, toy_method):
    """Exclusive or of two units."""
    for split, seed in ((toy_data.train, 0), (toy_data.valid, 1), (toy_data.test, 2)):
        g = torch.Generator().manual_seed(seed)
        bits = torch.randint(2, (len(split.labels), 2), generator=g)
        split.images.copy_(torch.randint(60, 100, split.images.shape, generator=g))
        split.images[:, 0, 0, :2] = (bits * 200).byte()
        split.labels.copy_(bits[:, 0] ^ bits[:, 1])
    assert deep_probe.evaluate(toy_method, toy_data, steps=300).values["deep_accuracy"] > 0.98


def test_deep_probe_is_decided_by_its_seed(toy_data, toy_method):
    first = deep_probe.evaluate(toy_method, toy_data, steps=5, seed=3)
    torch.manual_seed(99)
    assert deep_probe.evaluate(toy_method, toy_data, steps=5, seed=3) == first


def test_deep_probe_stops_where_validation_is_best(contrary_data, toy_method):
    """Early it answers "a" to everything, which is right on validation; later it knows better."""
    score = deep_probe.evaluate(toy_method, contrary_data, steps=100)
    assert score.values["deep_valid_accuracy"] == 1
    assert score.values["deep_accuracy"] == (contrary_data.test.labels == 0).double().mean()
    truthful = replace(contrary_data, valid=contrary_data.test)
    assert deep_probe.evaluate(toy_method, truthful, steps=100).values["deep_accuracy"] == 1


def test_few_labels_are_drawn_anew(dark_and_bright, toy_method):
    """One label a class, a quarter of them wrong: both right 9 times in 16, then all is; both wrong once.

    Six times the two images are of one class, and chance decides: 1/2 on average, so the mean is 12/16. The
    deviation is sqrt(3/32) were it always 1/2, and that of yes or no with mean 3/4 at most.
    """
    values = few_labels.evaluate(toy_method, dark_and_bright, counts=(2,), draws=100).values
    assert values["accuracy_2"] == pytest.approx(0.75, abs=0.1)
    assert 0.25 < values["accuracy_2_deviation"] < 0.44


def test_few_labels_are_decided_by_the_seed(dark_and_bright, toy_method):
    def found(seed):
        return few_labels.evaluate(toy_method, dark_and_bright, counts=(2,), draws=5, seed=seed).values

    assert found(1) == found(1)
    assert found(1) != found(0)
    assert found(2) != found(1)


def test_few_labels_are_spread_evenly():
    labels = torch.tensor([0] * 50 + [1] * 50 + [2] * 3)
    index = few_labels.draw_evenly(labels, 23, torch.Generator().manual_seed(0))
    assert len(set(index.tolist())) == 23
    assert torch.bincount(labels[index]).tolist() == [10, 10, 3]


def test_counts_that_cannot_be_drawn_are_left_out_and_named(toy_data, toy_method):
    score = few_labels.evaluate(toy_method, toy_data, counts=(2, 30, 1000))
    assert score.protocol["counts"] == [30]
    assert score.protocol["left_out"] == [2, 1000]
    assert set(score.values) == {"accuracy_30", "accuracy_30_deviation"}
    with pytest.raises(ValueError, match=r"need one in 3\.\.600"):
        few_labels.evaluate(toy_method, toy_data, counts=(2,))


def test_knn_at_a_low_temperature_is_the_nearest_neighbour():
    g = torch.Generator().manual_seed(0)
    h, y = torch.randn(80, 6, generator=g), torch.randint(4, (80,), generator=g)
    h_test, y_test = torch.randn(50, 6, generator=g), torch.randint(4, (50,), generator=g)
    nearest = knn.accuracy(h, y, h_test, y_test, k=1, temperature=1.0)
    assert knn.accuracy(h, y, h_test, y_test, k=80, temperature=1e-3) == nearest


@pytest.mark.parametrize("metric", [knn, deep_probe, few_labels])
def test_images_without_a_label_do_not_count(toy_data, toy_method, metric):
    def hide(split: Split, every: int) -> Split:
        labels = split.labels.clone()
        labels[::every] = -1
        return replace(split, labels=labels)

    hidden = replace(toy_data, train=hide(toy_data.train, 2), test=hide(toy_data.test, 3))
    shown = replace(toy_data, train=hidden.train.labelled(), test=hidden.test.labelled())
    options = {"steps": 20} if metric is deep_probe else {"k": 10} if metric is knn else {}
    found, expected = (metric.evaluate(toy_method, data, **options) for data in (hidden, shown))
    assert found == expected
    assert found.protocol["n_test"] == 200
