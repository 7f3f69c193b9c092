"""AMR with a learned mixing function: hand-computed losses, and a balance that keeps it from not mixing."""

import torch
from torch.nn import functional as F

from latentmix.methods import Batch
from latentmix.methods.amr_learned import AMRLearned, LearnedMixing
from latentmix.networks.mlp import MLP

SHAPE = (1, 4, 4)


def batch(n=8):
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1, generator=generator)


def test_losses_equal_a_hand_computed_case():
    torch.manual_seed(0)
    method = AMRLearned(SHAPE, network=MLP(d_h=6, width=16), lamb=2.0, balance=3.0, width=8).double().eval()
    losses, _ = method.losses(batch())
    data = batch()
    h = method.encode(data.x)
    perm = torch.randperm(8, generator=data.generator)
    share = torch.rand(8, dtype=torch.float64, generator=data.generator)
    noise = torch.empty(8, 6, dtype=torch.float64).normal_(generator=data.generator)
    m = torch.sigmoid(method.mixing.body(torch.cat([h, h[perm], noise, share[:, None]], 1)))
    x_hat, x_mix = method.decode(h), method.decode(m * h + (1 - m) * h[perm])
    fool_hat, fool_mix = (F.softplus(-method.critic(x)).mean() for x in (x_hat, x_mix))
    torch.testing.assert_close(losses["autoencoder"], 2 * (x_hat - data.x).abs().mean() + fool_hat + fool_mix)
    torch.testing.assert_close(losses["mixing"], fool_mix + 3 * ((m.mean(1) - share) ** 2).mean())


def test_the_balance_alone_teaches_the_share():
    torch.manual_seed(0)
    mixing = LearnedMixing(6, 32)
    adam = torch.optim.Adam(mixing.parameters(), lr=1e-2)
    for _ in range(300):
        h1, h2, share = torch.randn(64, 6), torch.randn(64, 6), torch.rand(64)
        loss = ((mixing(h1, h2, share).mean(1) - share) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert loss < 0.01


def test_feature_maps_have_one_weight_each():
    assert LearnedMixing(5, 8)(torch.randn(2, 5, 4, 4), torch.randn(2, 5, 4, 4), torch.rand(2)).shape == (
        2,
        5,
    )
