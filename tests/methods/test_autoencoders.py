"""VAE, denoising, dropout, adversarial and vector-quantised autoencoders: losses, and codes without noise."""

import math

import pytest
import torch
from torch.nn import functional as F

from latentmix.methods import Batch
from latentmix.methods.adversarial_autoencoder import AdversarialAutoencoder
from latentmix.methods.denoising import Denoising
from latentmix.methods.dropout import Dropout
from latentmix.methods.vae import VAE, divergence
from latentmix.methods.vq_vae import VQVAE, usage
from latentmix.networks.gaia import ContentStyle
from latentmix.networks.mlp import MLP

SHAPE = (1, 4, 4)
NETWORK = MLP(d_h=5, width=16)


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1
    return Batch(x, y=torch.arange(n) % 3, generator=generator)


def build(cls, **options):
    torch.manual_seed(0)
    return cls(SHAPE, 3, network=NETWORK, **options).double()


def noise_of(method, seed=0):
    """The normal numbers that a method's first draw gives for its codes."""
    data = batch(seed=seed)
    return torch.empty(6, 5, dtype=torch.float64).normal_(generator=data.generator)


@pytest.mark.parametrize(
    "make",
    [
        lambda: build(VAE),
        lambda: build(VAE, variant="paper"),
        lambda: build(Denoising),
        lambda: build(Dropout),
        lambda: build(AdversarialAutoencoder),
        lambda: build(VQVAE, vectors=2, codewords=8),
    ],
    ids=["vae", "vae paper", "denoising", "dropout", "aae", "vq-vae"],
)
def test_codes_are_deterministic_and_the_draw_is_the_generators(make):
    method, x = make(), batch().x
    assert torch.equal(method.encode(x), method.encode(x))
    assert torch.equal(method.decode(method.encode(x)), method.decode(method.encode(x)))
    first, second, other = (method.eval().losses(batch(seed=s))[0]["autoencoder"] for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("mean", [-1.5, 0.0, 0.7])
@pytest.mark.parametrize("std", [0.3, 1.0, 2.0])
def test_divergence_is_pytorchs_and_knows_no_sign(mean, std):
    a, b = torch.tensor([mean], dtype=torch.float64), torch.tensor([std], dtype=torch.float64)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(a, b), torch.distributions.Normal(torch.zeros_like(a), torch.ones_like(b))
    )
    torch.testing.assert_close(divergence(a, b), expected)
    assert torch.equal(divergence(a, b), divergence(a, -b))


def test_divergence_is_zero_only_at_the_prior():
    assert divergence(torch.zeros(3), torch.ones(3)).sum() == 0
    assert (divergence(torch.randn(100), torch.rand(100) + 0.01) > 0).all()
    assert torch.isfinite(divergence(torch.zeros(1), torch.zeros(1))).all()


@pytest.mark.parametrize("reconstruction", ["bce", "l2", "l1"])
def test_vae_sums_over_pixels_and_units(reconstruction):
    method, data = build(VAE, beta=3.0, reconstruction=reconstruction), batch()
    losses, values = method.losses(data)
    mean, log_var = method.autoencoder.encoder(data.x).split(5, 1)
    logits = method.autoencoder.decoder(mean + torch.exp(log_var / 2) * noise_of(method))
    t = (data.x + 1) / 2
    pixels = {
        "bce": -(t * F.logsigmoid(logits) + (1 - t) * F.logsigmoid(-logits)),
        "l2": (logits - data.x) ** 2,
        "l1": (logits - data.x).abs(),
    }[reconstruction]
    kl = 0.5 * (mean**2 + log_var.exp() - log_var - 1).sum(1).mean()
    expected = pixels.flatten(1).sum(1).mean() + 3 * kl
    torch.testing.assert_close(losses["autoencoder"], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(values["kl"], kl)


def test_published_beta_counts_units_times_less():
    """beta = 100 averaged over 10 units is beta = 10 summed: at equal deviations the losses agree."""
    data = batch()
    paper, clean = build(VAE, variant="paper", beta=50.0), build(VAE, beta=10.0)
    with torch.no_grad():  # make both posteriors N(mu, 1): the raw deviation 1, the log variance 0
        for method, spread in ((paper, 1.0), (clean, 0.0)):
            last = method.autoencoder.encoder[-1][-1]
            last.weight[5:], last.bias[5:] = 0, spread
    a, b = (m.losses(batch())[0]["autoencoder"] for m in (paper, clean))
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(paper.posterior(data.x)[1], torch.ones(6, 5, dtype=torch.float64))


def test_denoising_sees_noise_and_is_asked_for_the_clean_image():
    method, data = build(Denoising, sigma=0.5), batch()
    noise = torch.empty_like(data.x).normal_(generator=batch().generator)
    losses, _ = method.losses(data)
    expected = ((method.autoencoder(data.x + 0.5 * noise) - data.x) ** 2).mean()
    torch.testing.assert_close(losses["autoencoder"], expected)
    clean, _ = build(Denoising, sigma=0.0).losses(batch())
    torch.testing.assert_close(clean["autoencoder"], ((method.autoencoder(data.x) - data.x) ** 2).mean())
    torch.testing.assert_close(losses["probe"], F.cross_entropy(method.probe(method.encode(data.x)), data.y))


def test_dropout_keeps_the_mean_of_the_code():
    torch.manual_seed(0)
    method = Dropout(SHAPE, network=MLP(d_h=4000, width=4), p=0.25).double()
    seen = []
    method.decode = lambda h: seen.append(h) or torch.zeros(2, *SHAPE, dtype=torch.float64)
    data = batch(2)
    method.losses(data)
    h, dropped = method.encode(data.x), seen[0]
    assert ((dropped == 0) | torch.isclose(dropped, h / 0.75)).all()
    assert (dropped == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)


def test_adversarial_autoencoder_plays_on_codes():
    method, data = build(AdversarialAutoencoder, lamb=2.0), batch()
    losses, _ = method.losses(data)
    h = method.encode(data.x)
    s_code, s_prior = method.critic(h), method.critic(noise_of(method))
    torch.testing.assert_close(losses["critic"], F.softplus(-s_prior).mean() + F.softplus(s_code).mean())
    error = ((method.decode(h) - data.x) ** 2).mean()
    torch.testing.assert_close(losses["autoencoder"], 2 * error + F.softplus(-s_code).mean())
    sizes = [m.out_features for m in method.critic.modules() if isinstance(m, torch.nn.Linear)]
    assert sizes == [100, 100, 1]


class TestVQVAE:
    def test_every_vector_becomes_its_nearest_codeword(self):
        method = build(VQVAE, vectors=3, codewords=16)
        decoder, h = method.autoencoder.decoder, method.encode(batch().x)
        u = decoder.split(h).reshape(6, 3, 5)
        nearest = torch.cdist(u.flatten(0, 1), decoder.codebook).argmin(1)
        e = decoder.codebook[nearest].reshape(6, 15)
        code, vectors, index, commitment = decoder.quantise(h)
        assert torch.equal(vectors, u.reshape(18, 5))
        assert torch.equal(index, nearest)
        torch.testing.assert_close(code, decoder.join(e))
        torch.testing.assert_close(commitment, ((u.reshape(6, 15) - e) ** 2).mean())

    def test_gradient_passes_straight_through(self):
        decoder = build(VQVAE, vectors=1, codewords=4).autoencoder.decoder
        decoder.split, decoder.join = torch.nn.Flatten(), torch.nn.Identity()
        h = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
        direction = torch.randn(2, 5, dtype=torch.float64)
        (decoder.quantise(h)[0] * direction).sum().backward()
        torch.testing.assert_close(h.grad, direction)

    def test_codebook_goes_to_the_means_of_what_is_near_it(self):
        decoder = build(VQVAE, vectors=1, codewords=2, decay=0.9).autoencoder.decoder
        decoder.split = torch.nn.Flatten()
        h = torch.tensor([[1.0, 1, 0, 0, 0], [1.2, 1, 0, 0, 0], [-3.0, 0, 0, 0, 0]], dtype=torch.float64)
        with torch.no_grad():
            decoder.codebook.copy_(torch.tensor([[2.0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0]]))
            decoder.sums.copy_(decoder.codebook)
        for _ in range(200):
            _, vectors, index, _ = decoder.quantise(h)
            decoder.follow(vectors, index, Batch(h))
        expected = torch.tensor([[1.1, 1, 0, 0, 0], [-3.0, 0, 0, 0, 0]], dtype=torch.float64)
        torch.testing.assert_close(decoder.codebook, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(decoder.counts, torch.tensor([2.0, 1.0], dtype=torch.float64))

    def test_usage_by_hand(self):
        """Two of four codewords, in shares 3/4 and 1/4: perplexity 4 / 3^(3/4)."""
        decoder = build(VQVAE, vectors=1, codewords=4).autoencoder.decoder
        found = usage(decoder.shares(torch.tensor([1, 3, 1, 1])))
        assert found["codewords"] == 2
        assert found["perplexity"].item() == pytest.approx(4 / 3**0.75)
        assert usage(decoder.shares(torch.arange(4)))["perplexity"].item() == pytest.approx(4)
        _, values = build(VQVAE, vectors=2, codewords=8).losses(batch())
        assert 1 <= values["perplexity"] <= values["codewords"] <= 8

    def test_idle_codewords_move_to_different_vectors_of_the_batch(self):
        decoder = build(VQVAE, vectors=1, codewords=6, decay=0.99, revive=3).autoencoder.decoder
        far = torch.full((5, 5), 100.0, dtype=torch.float64)
        with torch.no_grad():
            decoder.codebook[1:] = far
            decoder.sums.copy_(decoder.codebook)
        h = torch.eye(5, dtype=torch.float64)[:3]  # all nearest to codeword 0
        for step in range(3):
            assert torch.equal(decoder.codebook[1:] > 50, far > 50), step
            vectors = h
            decoder.follow(vectors, torch.zeros(3, dtype=torch.int64), Batch(h, host=torch.Generator()))
        moved = (decoder.codebook[1:] < 50).all(1)
        assert moved.sum() == 3  # as many as there are vectors, each to another one
        near = torch.cdist(decoder.codebook[1:][moved], h)
        assert near.min(1).values.max() < 1e-3
        assert near.argmin(1).unique().numel() == 3
        assert decoder.idle[1:][moved].eq(0).all()
        decoder.follow(h, torch.zeros(3, dtype=torch.int64), Batch(h, host=torch.Generator()))
        assert (decoder.codebook[1:] < 50).all()  # the other two in the next step
        assert decoder.idle[0] == 0

    def test_revival_needs_one_rank_and_old_checkpoints_know_no_idle_steps(self):
        method = build(VQVAE, vectors=2, codewords=8)
        with pytest.raises(ValueError, match="revive=0"):
            method.losses(Batch(batch().x, ranks=2))
        state = {k: v for k, v in method.state_dict().items() if not k.endswith(".idle")}
        build(VQVAE, vectors=2, codewords=8).load_state_dict(state)

    def test_only_training_moves_the_codebook(self):
        method = build(VQVAE, vectors=2, codewords=8)
        before = method.autoencoder.decoder.codebook.clone()
        method.eval().losses(batch())
        method.train().decode(method.encode(batch().x))
        assert torch.equal(before, method.autoencoder.decoder.codebook)
        method.losses(batch())
        assert not torch.equal(before, method.autoencoder.decoder.codebook)

    def test_the_codebook_rests_where_the_autoencoder_does_not_step(self):
        method = build(VQVAE, vectors=2, codewords=8)
        before = method.autoencoder.decoder.codebook.clone()
        method.autoencoder.requires_grad_(False)
        method.losses(batch())
        assert torch.equal(before, method.autoencoder.decoder.codebook)
        method.autoencoder.requires_grad_(True)
        with torch.no_grad():
            method.losses(batch())
        assert torch.equal(before, method.autoencoder.decoder.codebook)

    def test_mixes_are_made_before_quantisation(self):
        """Codes are the encoder's own, so that a mix of two is not one of finitely many."""
        method = build(VQVAE, vectors=1, codewords=2)
        assert len(method.encode(batch(100).x).unique(dim=0)) == 100
        assert len(method.decode(method.encode(batch(100).x)).round(decimals=8).unique(dim=0)) <= 2

    def test_published_sizes_are_the_defaults(self):
        torch.manual_seed(0)
        method = VQVAE((1, 32, 32))
        assert method.autoencoder.decoder.codebook.shape == (16_384, 32)
        assert method.autoencoder.decoder.split[1].out_features == 320
        assert method.beta == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Denoising(SHAPE, network=NETWORK, sigma=-1.0), "sigma=-1"),
        (lambda: VAE((1, 32, 32), network=ContentStyle(d_h=8, width=2)), "content and style.* network=conv"),
        (lambda: Dropout(SHAPE, network=NETWORK, p=1.0), "p=1"),
        (lambda: VQVAE(SHAPE, network=NETWORK, codewords=1), "2 codewords"),
        (lambda: VQVAE(SHAPE, network=NETWORK, decay=1.0), "decay=1"),
        (lambda: VQVAE(SHAPE, network=NETWORK, revive=-1), "revive=-1"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bernoulli_reconstruction_is_the_logits_own():
    """`decode` gives 2 sigmoid(s) - 1, from which the error of "bce" gets sigmoid(s) back."""
    method = build(VAE)
    h = torch.randn(4, 5, dtype=torch.float64)
    p = (method.decode(h) + 1) / 2
    torch.testing.assert_close(p, torch.sigmoid(method.autoencoder.decode(h)))
    assert math.isclose(
        method.reconstruction_error(torch.zeros(1), torch.zeros(1)).item(), math.log(2), rel_tol=1e-6
    )
