"""Several sets of codes, decoded in one pass unless batch norm would mix them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from latentmix.methods.amr import AMR
from latentmix.networks import EncoderDecoder

SHAPE = (1, 32, 32)


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
