"""The small networks of the analyses: published sizes, what a decoder learns from, what is mixed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentmix.data.sources.glyphs import draw_factors
from latentmix.methods import Batch
from latentmix.methods.classifier import Classifier
from latentmix.methods.factor_mixing import FactorMixing
from latentmix.methods.hidden_decoder import Doubling, HiddenDecoder
from latentmix.networks.bottleneck import BottleneckPerceptron
from latentmix.networks.resnet import PreActResNet
from latentmix.networks.strided_conv import StridedConv


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_published_sizes() -> None:
    assert count(BottleneckPerceptron().classifier((1, 28, 28), 10)) == 3_968_016
    assert count(StridedConv().classifier((1, 64, 64), 1)) == 1_081_537
    decode = Doubling(128, 3)
    assert count(decode) == 1_077_955
    assert decode(torch.zeros(2, 128, 4, 5)).shape == (2, 3, 8, 10)
    assert isinstance(decode[-1], nn.Conv2d)  # not activated


def test_the_decoder_learns_and_the_classifier_stays() -> None:
    torch.manual_seed(0)
    classifier = Classifier((1, 16, 16), 3, network=PreActResNet(18, 2), layers=("none",))
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    method = HiddenDecoder((1, 16, 16), classifier).train()
    assert list(method.players()) == ["decoder"]
    x = torch.rand(8, 1, 16, 16) * 2 - 1
    losses, _ = method.losses(Batch(x, generator=torch.Generator().manual_seed(0)))
    losses["decoder"].backward()
    after = classifier.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before), "norms of the classifier have moved"
    h = method.encode(x)
    assert h.shape[1:] == method.code_shape == (4, 8, 8)
    stages = classifier.network
    torch.testing.assert_close(h, stages.layer2(stages.layer1(stages.stem(classifier.prepare(x)))))


def batch(task: str = "A", n: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(0)
    factors, y = draw_factors(n, task, generator=generator)  # type: ignore[arg-type]
    factors = factors.round()
    return Batch(FactorMixing.draw(factors), y.long(), generator=generator, factors=factors.long())


class Seen(nn.Module):
    """Keeps what it is shown; says 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.x = torch.zeros(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.x = x
        return self.weight.expand(len(x), 1)


@pytest.mark.parametrize("mixing", ["none", "input", "factor"])
def test_what_is_mixed(mixing: str) -> None:
    method = FactorMixing((1, 64, 64), 2, mixing=mixing)  # type: ignore[arg-type]
    method.network = Seen()
    losses, _ = method.losses(batch())
    # A network that says 1/2 has the same loss for every target: log 2.
    assert losses["network"].item() == pytest.approx(0.6931, abs=1e-4)
    plain = (batch().x + 1) / 2
    grey = [((x > 0.35) & (x < 0.95)).float().mean().item() for x in (method.network.x, plain)]
    if mixing == "none":
        torch.testing.assert_close(method.network.x, plain)
    else:
        assert not torch.allclose(method.network.x, plain)
        assert (grey[0] > 2 * grey[1]) == (mixing == "input")  # drawn from factors, images are sharp
