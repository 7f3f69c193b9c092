"""Pre-activation residual networks: the published sizes and shapes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from latentmix.networks.resnet import PreActResNet


@pytest.mark.parametrize(
    ("depth", "labels", "count"),
    [
        (18, 10, 11_171_146),
        (18, 100, 11_217_316),
        (34, 10, 21_279_306),
        (34, 100, 21_325_476),
        (152, 10, 58_144_842),
        (152, 100, 58_329_252),
    ],
)
def test_parameter_counts_are_the_published_ones(depth: int, labels: int, count: int) -> None:
    with torch.device("meta"):
        model = PreActResNet(depth).classifier((3, 32, 32), labels)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    ("depth", "shapes"),
    [
        (18, [(64, 32), (128, 16), (256, 8), (512, 4)]),
        (152, [(256, 32), (512, 16), (1024, 8), (2048, 4)]),
    ],
)
def test_shapes_of_the_stages(depth: int, shapes: list[tuple[int, int]]) -> None:
    with torch.device("meta"):
        model = PreActResNet(depth).classifier((3, 32, 32), 10)
        h = model.stem(torch.zeros(2, 3, 32, 32))
        for stage, (channels, side) in zip((model.layer1, model.layer2, model.layer3, model.layer4), shapes):
            h = stage(h)
            assert h.shape == (2, channels, side, side)
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_block_adds_to_its_raw_input_and_its_shortcut_sees_the_activated_one() -> None:
    torch.manual_seed(0)
    model = PreActResNet(18, width=4).classifier((1, 16, 16), 3).eval()
    x = torch.randn(2, 4, 16, 16)
    same, widening = model.layer1[0], model.layer2[0]
    torch.nn.init.zeros_(same.conv2.weight)
    torch.nn.init.zeros_(widening.conv2.weight)
    assert torch.equal(same(x), x)
    torch.testing.assert_close(widening(x), widening.shortcut(widening.norm1(x).relu()))


@pytest.mark.parametrize("width", [2, 8])
def test_shortcuts_are_strided_convolutions_also_with_few_channels_last(width: int) -> None:
    """PyTorch's own strided one, 2 to 4 channels, channels last, ends the process in its backward pass."""
    torch.manual_seed(0)
    shortcut = PreActResNet(18, width).classifier((3, 32, 32), 3).layer2[0].shortcut
    x = torch.randn(8, width, 16, 16, requires_grad=True)
    expected = F.conv2d(x, shortcut.weight, stride=2)
    gradients = list(torch.autograd.grad(expected.square().sum(), [x, shortcut.weight]))
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    shortcut.to(memory_format=torch.channels_last)
    for _ in range(20):
        shortcut.weight.grad = last.grad = None
        found = shortcut(last)
        found.square().sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close([last.grad, shortcut.weight.grad], gradients, rtol=1e-4, atol=1e-5)


def test_width_scales_every_layer_and_odd_requests_are_refused() -> None:
    narrow = PreActResNet(18, width=8).classifier((1, 32, 32), 10)
    assert narrow.head.in_features == 64
    assert narrow(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
    with pytest.raises(ValueError, match="depth=50"):
        PreActResNet(50)
    with pytest.raises(ValueError, match="width=0"):
        PreActResNet(18, width=0)
