"""The convolutional networks: sizes as published, structure, initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from latentmix.networks.conv import Conv, parameter_count
from latentmix.networks.instance_norm import InstanceNormLeakyReLU

COUNTS = [  # d_h, channels, encoder, decoder, both, critic, its buffers: measured on the published classes
    (32, 1, 150_850, 75_745, 226_595, 150_146, 3_666),
    (32, 3, 150_882, 76_035, 226_917, 150_178, 3_666),
    (256, 3, 167_024, 84_099, 251_123, 166_320, 3_680),
    (1024, 3, 222_368, 111_747, 334_115, 221_664, 3_728),
]


@pytest.mark.parametrize("variant", ["clean", "paper"])
@pytest.mark.parametrize(("d_h", "channels", "encoder", "decoder", "both", "critic", "buffers"), COUNTS)
def test_parameter_counts_are_the_published_ones(
    variant: str, d_h: int, channels: int, encoder: int, decoder: int, both: int, critic: int, buffers: int
) -> None:
    network = Conv(d_h=d_h, variant=variant)  # type: ignore[arg-type]
    model, judge = network.autoencoder((channels, 32, 32)), network.critic((channels, 32, 32))
    assert parameter_count(model.encoder) == encoder
    assert parameter_count(model.decoder) == decoder
    assert parameter_count(model) == both
    assert parameter_count(judge) == critic
    assert sum(b.numel() for b in judge.buffers()) == buffers


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(size: int, channels: int) -> None:
    network = Conv(d_h=48, width=4)
    model, x = network.autoencoder((channels, size, size)), torch.randn(2, channels, size, size)
    assert model.encode(x).shape == (2, *model.code_shape) == (2, 3, 4, 4)
    assert model(x).shape == x.shape
    assert network.critic((channels, size, size))(x).shape == (2,)


def test_the_decoder_is_blind_to_the_scale_of_the_code() -> None:
    model = Conv().autoencoder((1, 32, 32))
    h = model.encode(torch.randn(2, 1, 32, 32))
    torch.testing.assert_close(model.decode(h), model.decode(3 * h), rtol=1e-3, atol=1e-3)
    assert (model.decode(h) - model.decode(-h)).abs().max() > 0.1


def test_clean_initialisation_is_he_and_unit_gain() -> None:
    torch.manual_seed(0)
    model = Conv(d_h=1024).autoencoder((3, 32, 32))
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            fan_in = math.prod(module.weight.shape[1:])
            assert module.weight.std().item() == pytest.approx(
                math.sqrt(2 / (1 + 0.01**2) / fan_in), rel=0.05
            )
            assert (module.bias == 0).all()
        if isinstance(module, InstanceNormLeakyReLU):
            assert (module.weight == 1).all()


def test_paper_initialisation_has_the_published_oddities() -> None:
    torch.manual_seed(0)
    network = Conv(variant="paper")
    model, critic = network.autoencoder((1, 32, 32)), network.critic((1, 32, 32))
    expected = {(16, 16): 0.0354, (128, 64): 0.0063}  # standard deviations, measured on the published classes
    convs = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    for conv in convs:
        if (std := expected.get(tuple(conv.weight.shape[:2]))) is not None:
            assert conv.weight.std().item() == pytest.approx(std, rel=0.05)
    gains = torch.cat([m.weight for m in model.modules() if isinstance(m, InstanceNormLeakyReLU)])
    assert len(gains) == 592
    assert gains.std().item() == pytest.approx(0.98, rel=0.1)
    assert (gains < 0).float().mean().item() == pytest.approx(0.5, abs=0.08)
    stem, *rest = [m for m in critic.modules() if isinstance(m, nn.Conv2d)]
    assert (stem.bias == 0).all()
    assert all((m.bias != 0).any() for m in rest)  # PyTorch's default


@pytest.mark.parametrize("variant", ["clean", "paper"])
def test_spectral_norm_is_on_every_convolution_but_the_stem(variant: str) -> None:
    critic = Conv(variant=variant).critic((1, 32, 32))  # type: ignore[arg-type]
    stem, *rest = [m for m in critic.modules() if isinstance(m, nn.Conv2d)]
    assert not hasattr(stem, "parametrizations")
    for _ in range(200):  # in training mode each look at a weight is one power iteration
        assert all(conv.weight is not None for conv in rest)
    critic.eval()
    for conv in rest:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.01)


def test_bad_sizes_are_refused() -> None:
    for d_h in (0, 8, 40):
        with pytest.raises(ValueError, match="multiple of 16"):
            Conv(d_h=d_h)
    for shape in ((1, 28, 28), (1, 8, 8), (1, 32, 16), (3, 89, 109)):
        with pytest.raises(ValueError, match="square images of 16, 32"):
            Conv().autoencoder(shape)
