"""Wide residual networks: the published size, shapes, and where dropout acts."""

from __future__ import annotations

import pytest
import torch

from latentmix.networks.wide_resnet import WideResNet


def test_parameter_count_is_the_published_one() -> None:
    with torch.device("meta"):
        model = WideResNet(28, widen=2).classifier((3, 32, 32), 10)
    assert sum(p.numel() for p in model.parameters()) == 1_469_642


def test_shapes_of_the_stages() -> None:
    with torch.device("meta"):
        model = WideResNet().classifier((3, 32, 32), 10)
        h = model.stem(torch.zeros(2, 3, 32, 32))
        for stage, (channels, side) in zip(
            (model.layer1, model.layer2, model.layer3), [(32, 32), (64, 16), (128, 8)]
        ):
            h = stage(h)
            assert h.shape == (2, channels, side, side)


def test_a_block_adds_to_its_raw_input_and_drops_only_in_training() -> None:
    torch.manual_seed(0)
    model = WideResNet(10, widen=1).classifier((1, 16, 16), 3)
    x = torch.randn(2, 16, 16, 16)
    same, widening = model.layer1[0], model.layer2[0]
    assert not torch.equal(same(x), same(x))
    model.eval()
    assert torch.equal(same(x), same(x))
    for block in (same, widening):
        torch.nn.init.zeros_(block.conv2.weight)
        torch.nn.init.zeros_(block.conv2.bias)
    assert torch.equal(same(x), x)
    assert torch.equal(widening(x), widening.shortcut(x))


@pytest.mark.parametrize("options", [{"depth": 27}, {"depth": 4}, {"widen": 0}, {"dropout": 1.0}])
def test_sizes_that_do_not_exist(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        WideResNet(**options)
