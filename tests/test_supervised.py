"""Supervised training: crops, schedule, normalisation, losses, mixing, balanced subsets, best and last."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from latentmix.data import Split
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.networks.resnet import PreActResNet
from latentmix.supervised import (
    LAYERS,
    LOSSES,
    STATISTICS,
    Classifier,
    Training,
    balanced,
    channel_statistics,
    crop_and_flip,
    mixed_loss,
    score,
    train,
)

TINY = Training(
    mixing="none", loss="cross-entropy", width=2, epochs=2, drops=(1,), batch=8, pad=1, flip=False
)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 21, side: int = 8) -> Split:
    """Noise around a grey that tells the class."""
    y = torch.arange(count) % 3
    noise = torch.randint(40, (count, 3, side, side), generator=gen())
    return Split((noise + 80 * y.reshape(-1, 1, 1, 1)).to(torch.uint8), y)


def test_crops_are_shifts_and_mirrors_of_the_padded_image() -> None:
    x = torch.randint(1, 256, (400, 3, 5, 6), generator=gen(), dtype=torch.uint8)
    found = crop_and_flip(x, 2, True, gen(1))
    assert found.shape == x.shape
    assert found.dtype == torch.uint8
    assert torch.equal(crop_and_flip(x, 2, True, gen(1)), found)
    assert not torch.equal(crop_and_flip(x, 2, True, gen(2)), found)
    padded = F.pad(x, (2,) * 4)
    places = {
        (down, right, mirrored): (padded.flip(3) if mirrored else padded)[
            :, :, down : down + 5, right : right + 6
        ]
        for down in range(5)
        for right in range(5)
        for mirrored in (False, True)
    }
    hits = {place: (cut == found).flatten(1).all(1) for place, cut in places.items()}
    assert (torch.stack([*hits.values()]).sum(0) == 1).all()  # each image is one of the 50, whole
    counts = torch.tensor([float(hit.sum()) for hit in hits.values()])
    assert counts.min() > 0
    assert (counts - 8).square().sum() / 8 < 100  # chi-squared with 49 degrees of freedom: 1e-5 beyond
    mirrored = sum(int(hit.sum()) for (_, _, m), hit in hits.items() if m)
    assert abs(mirrored - 200) < 50


def test_no_crop_and_no_flip_is_the_image() -> None:
    x = images().images
    assert torch.equal(crop_and_flip(x, 0, False, gen()), x)


def test_the_learning_rate_drops_from_the_named_epochs_on() -> None:
    published = Training()
    rates = [published.learning_rate(epoch) for epoch in (0, 399, 400, 799, 800, 1199)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("name", STATISTICS)
def test_published_statistics(name: str) -> None:
    mean, std = channel_statistics(images().images, name)
    assert mean.shape == std.shape == (3, 1, 1)
    black, white = (
        Classifier(torch.nn.Identity(), mean, std)(torch.full((1, 3, 1, 1), v)) for v in (0.0, 1.0)
    )
    m, s = (torch.tensor(v).reshape(1, 3, 1, 1) for v in STATISTICS[name])
    torch.testing.assert_close(black, -m / s)
    torch.testing.assert_close(white, (255 - m) / s)
    with pytest.raises(ValueError, match="3 channels, the images have 1"):
        channel_statistics(images().images[:, :1], name)


def test_measured_statistics_are_those_of_all_pixels() -> None:
    x = images().images
    mean, std = channel_statistics(x, None)
    pixels = x.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(mean.flatten().double(), pixels.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(std.flatten().double(), pixels.std(1, correction=0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_a_mixed_batch_by_hand(loss: str) -> None:
    """Logits are the mixed images themselves; labels are mixed by the same draw."""
    network = torch.nn.Sequential(torch.nn.Identity()).double()
    x = torch.randn(6, 4, generator=gen(), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    mixup = ManifoldMixup(network, ["input"], alpha=1.0, generator=gen(5))
    found = mixed_loss(network, mixup, LOSSES[loss], x, y)
    m = ManifoldMixup(torch.nn.Identity(), ["input"], alpha=1.0, generator=gen(5))(6)
    assert 0.05 < m.lam < 0.95
    p = (m.lam * x + (1 - m.lam) * x[m.perm]).softmax(1)
    target = m.lam * F.one_hot(y, 4) + (1 - m.lam) * F.one_hot(y[m.perm], 4)
    by_hand = {
        "cross-entropy": -(target * p.log()).sum(1).mean(),
        "BCE on softmax": -(target * p.log() + (1 - target) * (1 - p).log()).mean(),
    }
    torch.testing.assert_close(found, by_hand[loss])
    mixup.remove()
    plain = mixed_loss(network, None, LOSSES[loss], x, y)
    torch.testing.assert_close(plain, LOSSES[loss](x, y))


@pytest.mark.parametrize("mixing", ["manifold", "all layers"])
@pytest.mark.parametrize("detach", [False, True])
def test_the_gradient_is_blocked_below_the_mixed_layer_and_nowhere_else(mixing: str, detach: bool) -> None:
    torch.manual_seed(0)
    network = PreActResNet(18, 2).classifier((3, 8, 8), 3)
    mixup = ManifoldMixup(network, LAYERS[mixing], detach=detach, generator=gen())
    blocks = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    seen = set()
    for _ in range(12):
        network.zero_grad()
        with mixup(6) as m:
            m.loss(F.cross_entropy, network(torch.randn(6, 3, 8, 8)), torch.arange(6) % 3).backward()
        seen.add(m.layer)
        below = blocks[: blocks.index(m.layer) + 1] if detach and m.layer != "input" else []
        for name in blocks:
            moved = any(p.grad.abs().max() > 0 for p in network.get_submodule(name).parameters())
            assert moved == (name not in below), f"{name}, mixed at {m.layer}"
    assert seen == set(LAYERS[mixing])


def test_few_labels_are_balanced_and_follow_the_seed() -> None:
    """4,000 of 9,000 unevenly labelled images: 400 of each of ten classes."""
    y = torch.randint(10, (9000,), generator=gen())
    rows = Split(torch.randint(256, (9000, 1, 2, 2), generator=gen(), dtype=torch.uint8), y)
    few, again, other = (balanced(rows, 4000, gen(seed)) for seed in (0, 0, 1))
    assert few.labels.bincount(minlength=10).tolist() == [400] * 10
    assert len(few.images) == 4000
    assert torch.equal(few.images, again.images)
    assert not torch.equal(few.images, other.images)
    with pytest.raises(ValueError, match="labelled=9001: there are 9000"):
        balanced(rows, 9001, gen())


def test_training_on_few_labels_is_training_on_the_subset() -> None:
    few = dataclasses.replace(TINY, labelled=9, epochs=1)
    assert (
        train(few, images(), images(), 3, seed=4).history == train(few, images(), images(), 3, seed=4).history
    )
    mean = train(few, images(), images(), 3, seed=4).last.mean
    torch.testing.assert_close(mean, channel_statistics(balanced(images(), 9, gen(4)).images, None)[0])


@pytest.mark.parametrize("mixing", LAYERS)
def test_training_learns_greys_and_follows_its_seed(mixing: str) -> None:
    training = dataclasses.replace(TINY, mixing=mixing, alpha=1.0, width=4, epochs=5, drops=(4,))
    rows = images(25)  # a last batch of one
    first, again, other = (train(training, rows, rows, 3, seed=seed) for seed in (0, 0, 1))
    assert first.history == again.history != other.history
    assert max(values["accuracy"] for values in first.history) > 0.6
    weights = first.last.network.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in again.last.network.state_dict().items())


def test_best_and_last() -> None:
    rows, best_epochs = images(24), set()
    for seed in range(4):
        result = train(dataclasses.replace(TINY, epochs=3, lr=0.2, drops=()), rows, rows, 3, seed=seed)
        accuracies = [values["accuracy"] for values in result.history]
        assert result.best_epoch == accuracies.index(max(accuracies))
        assert score(result.best, rows) == result.history[result.best_epoch]
        assert score(result.last, rows) == result.history[-1]
        assert not result.last.network.training
        assert not result.best.network.training
        best_epochs.add(result.best_epoch)
    assert len(best_epochs) > 1


def test_score_by_hand() -> None:
    rows = Split(torch.tensor([0, 255, 255], dtype=torch.uint8).reshape(3, 1, 1, 1), torch.tensor([0, 1, 0]))

    def classifier(pixels: torch.Tensor) -> torch.Tensor:  # logits (1, 3) for white, (1, 0) for black
        return torch.cat([torch.ones(len(pixels), 1), 3 * pixels.flatten(1)], 1)

    wrong, right, black = torch.tensor([[1.0, 3.0], [3.0, 1.0], [1.0, 0.0]]).softmax(1)[:, 0].log()
    found = score(classifier, rows)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["nll"] == pytest.approx(-(wrong + right + black).item() / 3)


def test_requests_that_cannot_be_met() -> None:
    with pytest.raises(ValueError, match="mixing='both': take one of 'none', 'input'"):
        Training(mixing="both")
    with pytest.raises(ValueError, match="loss='BCE': take one of 'cross-entropy', 'BCE on softmax'"):
        Training(loss="BCE")
    with pytest.raises(ValueError, match="statistics='mnist': take one of None, 'cifar10'"):
        Training(statistics="mnist")
    with pytest.raises(ValueError, match="batch=1"):
        Training(batch=1)
    with pytest.raises(ValueError, match="needs labels"):
        train(TINY, Split(images().images), images(), 3, seed=0)
