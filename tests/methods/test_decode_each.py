"""Several sets of codes decoded in one pass, and what a pass for each gives."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from latentmix.config import catalogue
from latentmix.methods.amr import AMR
from latentmix.networks import EncoderDecoder

SHAPE = (1, 32, 32)
SIDES = {"burgess": 64, "residual": 64}  # images that these networks need
FAMILIES = [name for name, part in catalogue.find("network").items() if not part.without("autoencoder")]


def sets_of_codes(method: AMR) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (3, 5)  # of unlike size
    return [torch.randn(n, *method.code_shape, generator=generator, dtype=torch.float64) for n in sizes]


def values_and_gradients(method: AMR, codes: Sequence[Tensor], images: Sequence[Tensor]) -> list[Tensor]:
    weights = [w for w in method.autoencoder.decoder.parameters() if w.requires_grad]
    loss = sum((x**3).mean() for x in images)
    return [*images, *torch.autograd.grad(loss, [*codes, *weights])]


@pytest.mark.parametrize("name", FAMILIES)
def test_one_pass_gives_the_values_and_gradients_of_a_pass_for_each(name: str) -> None:
    torch.manual_seed(0)
    shape = (1, SIDES.get(name, 32), SIDES.get(name, 32))
    method = AMR(shape, 10, network=catalogue.find("network")[name].make()).double()
    codes = [h.requires_grad_() for h in sets_of_codes(method)]
    together = values_and_gradients(method, codes, method.decode_each(*codes))
    for each, alone in zip(together, values_and_gradients(method, codes, [method.decode(h) for h in codes])):
        assert (each - alone).norm() <= 1e-12 * (1 + alone.norm())


class Counted(nn.Sequential):
    """Layers that count how often they are called."""

    calls = 0

    def forward(self, h: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(h)


@pytest.mark.parametrize(("norm", "passes"), [(nn.BatchNorm1d(4), 2), (nn.Identity(), 1)])
def test_with_batch_norm_each_set_has_a_pass_of_its_own(norm: nn.Module, passes: int) -> None:
    method = AMR(SHAPE, 10)
    decoder = Counted(nn.Linear(2, 4), norm, nn.Linear(4, 1024), nn.Unflatten(1, SHAPE))
    method.autoencoder = EncoderDecoder(nn.Identity(), decoder, (2,))
    near, far = torch.randn(6, 2), 50 + torch.randn(6, 2)
    found = method.decode_each(near, far)
    assert decoder.calls == passes
    for x, h in zip(found, (near, far)):
        torch.testing.assert_close(x, method.decode(h))
