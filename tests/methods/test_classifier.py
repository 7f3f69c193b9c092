"""Classifiers: losses by hand, where gradients are blocked, statistics, the schedule, and learning."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmix.data.augment import crop_and_flip
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.methods import Batch
from latentmix.methods.classifier import (
    LOSSES,
    STATISTICS,
    Classifier,
    channel_statistics,
    mixed_loss,
)
from latentmix.networks.resnet import PreActResNet

NARROW = PreActResNet(18, 2)
ALL = ("input", "layer1", "layer2", "layer3")


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 21, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise around a grey that tells the class, and the classes."""
    y = torch.arange(count) % 3
    noise = torch.randint(40, (count, 3, side, side), generator=gen())
    return (noise + 80 * y.reshape(-1, 1, 1, 1)).to(torch.uint8), y


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
    assert torch.equal(crop_and_flip(x, 0, False, gen()), x)


def test_crops_of_reflected_images_are_cuts_of_the_mirrored_padding() -> None:
    x = torch.randint(1, 256, (200, 3, 5, 6), generator=gen(), dtype=torch.uint8)
    found = crop_and_flip(x, 2, True, gen(1), padding="reflect")
    padded = F.pad(x.double(), (2,) * 4, mode="reflect").to(torch.uint8)
    cuts = [
        image[:, :, down : down + 5, right : right + 6]
        for down in range(5)
        for right in range(5)
        for image in (padded, padded.flip(3))
    ]
    assert (torch.stack([(cut == found).flatten(1).all(1) for cut in cuts]).sum(0) == 1).all()
    black = crop_and_flip(x, 2, True, gen(1))
    inside = black != 0  # the same places are cut, whatever surrounds the image
    assert torch.equal(black[inside], found[inside])
    with pytest.raises(ValueError, match="crop=5 with padding=reflect needs images of more than 5"):
        crop_and_flip(x, 5, False, gen(), padding="reflect")


def test_the_learning_rate_falls_at_shares_of_the_training() -> None:
    drops = (400 / 1200, 800 / 1200)
    method = Classifier((1, 8, 8), 3, network=NARROW, drops=drops)
    rates = [0.1 * method.rates({}, epoch / 1200)["network"] for epoch in (0, 399, 400, 799, 800, 1199)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("name", STATISTICS)
def test_published_statistics(name: str) -> None:
    x, _ = images()
    mean, std = channel_statistics(x, name)
    m, s = (torch.tensor(v).reshape(3, 1, 1) for v in STATISTICS[name])
    torch.testing.assert_close(-mean / std, -m / s)
    torch.testing.assert_close((1 - mean) / std, (255 - m) / s)
    with pytest.raises(ValueError, match="3 channels, and the images have 1"):
        channel_statistics(x[:, :1], name)


def test_statistics_of_the_range_leave_pixels_as_they_are() -> None:
    method = Classifier((1, 8, 8), 3, network=NARROW, statistics="range")
    method.begin(torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8), None)
    x = torch.rand(2, 1, 8, 8) * 2 - 1
    torch.testing.assert_close(method.prepare(x), x)


def test_measured_statistics_are_those_of_all_pixels() -> None:
    x, _ = images()
    mean, std = channel_statistics(x)
    pixels = x.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(mean.flatten().double(), pixels.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(std.flatten().double(), pixels.std(1, correction=0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_a_mixed_batch_by_hand(loss: str) -> None:
    """Logits are the mixed images themselves; labels are mixed by the same draw."""
    network = nn.Sequential(nn.Identity()).double()
    x = torch.randn(6, 4, generator=gen(), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    mixup = ManifoldMixup(network, ["input"], alpha=1.0)
    found = mixed_loss(network, mixup, LOSSES[loss], x, y, gen(5))
    m = ManifoldMixup(nn.Identity(), ["input"], alpha=1.0, generator=gen(5))(6)
    assert 0.05 < m.lam < 0.95
    p = (m.lam * x + (1 - m.lam) * x[m.perm]).softmax(1)
    target = m.lam * F.one_hot(y, 4) + (1 - m.lam) * F.one_hot(y[m.perm], 4)
    by_hand = {
        "cross_entropy": -(target * p.log()).sum(1).mean(),
        "bce_on_softmax": -(target * p.log() + (1 - target) * (1 - p).log()).mean(),
    }
    torch.testing.assert_close(found, by_hand[loss])
    mixup.remove()
    torch.testing.assert_close(mixed_loss(network, None, LOSSES[loss], x, y, None), LOSSES[loss](x, y))


@pytest.mark.parametrize("layers", [ALL[:3], ALL])
@pytest.mark.parametrize("detach", [False, True])
def test_the_gradient_is_blocked_below_the_mixed_layer_and_nowhere_else(
    layers: tuple[str, ...], detach: bool
) -> None:
    torch.manual_seed(0)
    network = NARROW.classifier((3, 8, 8), 3)
    mixup = ManifoldMixup(network, layers, detach=detach, generator=gen())
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
    assert seen == set(layers)


@pytest.mark.parametrize("layers", [("none",), ("input",), ALL[:3], ALL])
def test_it_learns_greys(layers: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    method = Classifier(
        (3, 8, 8), 3, network=PreActResNet(18, 4), layers=layers, alpha=1.0, loss="cross_entropy"
    )
    x, y = images(48)
    method.begin(x, y)
    pixels = x.float() / 127.5 - 1
    optimiser = method.optimiser("network", list(method.network.parameters()), 0.05)
    host = gen()
    for _ in range(12):
        losses, _ = method.train().losses(Batch(pixels, y, host=host))
        optimiser.zero_grad()
        losses["network"].backward()
        optimiser.step()
    values = method.eval().validate(Batch(pixels, y))
    assert values["accuracy"].mean() > 0.6
    torch.testing.assert_close(values["nll"], F.cross_entropy(method.classify(pixels), y, reduction="none"))
