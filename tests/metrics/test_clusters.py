import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentmix.metrics import clusters


def blobs(n=300, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    return rng.normal(size=(n, 4)) + 20 * np.eye(4)[y], y


def test_separate_classes_score_one_and_noise_at_chance():
    h, y = blobs()
    assert clusters.accuracy(h, y) == 1
    assert clusters.accuracy(torch.from_numpy(h).float(), torch.from_numpy(y * 7)) == 1
    shuffled = np.random.default_rng(1).permutation(y)
    assert clusters.accuracy(h, shuffled) == pytest.approx(1 / 3, abs=0.12)


def test_matching_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    found, y = rng.integers(5, size=200), rng.integers(5, size=200)
    best = max((np.asarray(p)[found] == y).sum() for p in itertools.permutations(range(5)))
    mapping = clusters.matching(found, y, 5)
    assert sorted(mapping) == list(range(5))
    assert (mapping[found] == y).sum() == best


def test_any_invertible_linear_map_of_the_codes_changes_nothing():
    """That is what whitening is for: even units of wildly different scale."""
    h, y = blobs()
    wild = h @ np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0] * [1e-2, 1, 50, 1e3] + 5
    assert clusters.accuracy(wild, y) == 1


def test_units_that_never_vary_are_no_trouble():
    h, y = blobs()
    assert clusters.accuracy(np.concatenate([h, np.ones((len(h), 3))], 1), y) == 1


def test_evaluate_on_separate_classes(toy_data, toy_method):
    score = clusters.evaluate(toy_method, toy_data)
    assert score.values["cluster_accuracy_matched_on_test"] >= score.values["cluster_accuracy"] > 0.95
    assert score.values["nmi"] > 0.9
    assert score.values["ari"] > 0.9
    assert clusters.evaluate(toy_method, toy_data) == score
    assert score.protocol["n_train"] == 600


def test_numbers_of_classes_may_have_gaps(toy_data, toy_method):
    names = torch.tensor([2, 5, 9])

    def renumbered(split):
        return replace(split, labels=names[split.labels])

    data = replace(toy_data, **{s: renumbered(getattr(toy_data, s)) for s in ("train", "valid", "test")})
    expected = clusters.evaluate(toy_method, toy_data, restarts=2)
    found = clusters.evaluate(toy_method, data, restarts=2)
    assert found.values == expected.values
    assert found.protocol["clusters"] == 3


def test_clusters_are_named_by_training_images(toy_data, toy_method):
    """Test labels that are all turned by one: the clusters are right, and their names all wrong."""
    toy_data.test.labels.copy_((toy_data.test.labels + 1) % 3)
    values = clusters.evaluate(toy_method, toy_data).values
    assert values == pytest.approx(
        {"cluster_accuracy": 0, "cluster_accuracy_matched_on_test": 1, "nmi": 1, "ari": 1}, abs=0.02
    )


@pytest.mark.parametrize(
    ("codes", "labels", "message"),
    [
        (np.zeros((20, 2)), np.zeros(20), "two classes"),
        (np.zeros((6, 2)), np.arange(6) % 2, "4 samples"),
        (np.full((20, 2), np.nan), np.arange(20) % 2, "NaN"),
        (np.zeros((20, 2)), np.arange(19) % 2, "19 labels"),
    ],
)
def test_bad_input_is_refused(codes, labels, message):
    with pytest.raises(ValueError, match=message):
        clusters.accuracy(codes, labels)


@pytest.mark.parametrize("code", [0.0, 7.0, 1e6])
def test_codes_that_are_all_the_same_form_no_clusters(code):
    h = torch.full((60, 4), code)
    with pytest.raises(ValueError, match="all the same"):
        clusters.accuracy(h, torch.arange(60) % 3)


def test_codes_may_be_turned_round_and_classes_may_be_text():
    codes, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    plain = clusters.accuracy(codes[::-1].copy(), y[::-1].copy())
    assert clusters.accuracy(codes[::-1], np.array(["cat", "hen", "ox"])[y][::-1]) == plain
