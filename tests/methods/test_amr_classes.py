"""AMR with classes: masks and their gradient, targets, the critic's second head, a symmetry."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmix.methods import Batch
from latentmix.methods.amr_classes import AMRClasses, reachable
from latentmix.mixing import Mix
from latentmix.networks.classifying import ClassifyingCritic
from latentmix.networks.conv import Conv, parameter_count
from latentmix.networks.mlp import MLP
from latentmix.networks.residual import Residual

SHAPE = (1, 4, 4)


PARTLY = torch.zeros(1), torch.tensor([0, 2, -1])  # images, and labels of which one is missing


def build(**options):
    torch.manual_seed(0)
    options = {"network": MLP(d_h=6, width=16), **options}
    return AMRClasses(SHAPE, 3, 2, **options).double()


def batch(n=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1
    attributes = torch.randint(2, (n, 2), generator=generator).double()
    return Batch(x, torch.arange(n) % 3, attributes, generator)


class Fixed:
    def __call__(self, h, generator=None):
        first = torch.arange(len(h))
        return Mix(torch.stack([first, first.roll(1)]), torch.full((2, len(h)), 0.5, dtype=h.dtype))


def test_embedding_and_critic_have_the_published_sizes():
    method = AMRClasses((3, 64, 64), None, 3, network=Residual(width=64))
    assert method.autoencoder.code_shape[0] == 1024
    assert parameter_count(method.embed) == 2_103_296
    assert parameter_count(method.critic) == 9_580_228


def test_losses_equal_a_hand_computed_case():
    """Soft masks, so that nothing is drawn but the targets; eval mode, so that spectral norm stands still."""
    method = build(mixer=Fixed(), mask="soft", lamb=2.0, c=3.0, reconstruction="l2").eval()
    losses, values = method.losses(batch())
    data = batch()
    x, y1 = data.x, data.attributes
    y2 = y1.roll(1, 0)
    a = torch.rand(8, 1, dtype=torch.float64, generator=data.generator)
    y = a * y1 + (1 - a) * y2
    h = method.encode(x)
    m = torch.sigmoid(method.embed(y))
    x_hat, x_mix = method.decode(h), method.decode((h + h.roll(1, 0)) / 2)
    x_class = method.decode(m * h + (1 - m) * h.roll(1, 0))

    def score(images):
        return method.critic.adversary(images)

    def bce(logits, t):
        p = torch.sigmoid(logits)
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    fool = sum(F.softplus(-score(f)).mean() for f in (x_hat, x_mix, x_class))
    expected = 2 * ((x_hat - x) ** 2).mean() + fool + 3 * bce(method.critic.classify(x_class), y)
    torch.testing.assert_close(losses["autoencoder"], expected)
    torch.testing.assert_close(losses["embed"], expected)
    judge = F.softplus(-score(x)).mean() + sum(F.softplus(score(f)).mean() for f in (x_hat, x_mix, x_class))
    torch.testing.assert_close(losses["critic"], judge + bce(method.critic.classify(x), y1))
    torch.testing.assert_close(values["class_real"], bce(method.critic.classify(x), y1))


def test_the_classifier_learns_from_real_images_only():
    method = build(c=100.0)
    losses, values = method.losses(batch())
    weights = list(method.critic.classifier.parameters())
    a = torch.autograd.grad(losses["critic"], weights, retain_graph=True)
    b = torch.autograd.grad(values["class_real"], weights)
    for g, expected in zip(a, b):
        torch.testing.assert_close(g, expected)


class TestMask:
    p = torch.tensor([[0.1, 0.5, 0.9]], dtype=torch.float64).expand(20_000, 3)

    def draw(self, mask, p):
        return build(mask=mask)._draw(p, torch.Generator().manual_seed(0))

    def test_sampled_masks_are_bits_of_the_right_frequency(self):
        m = self.draw("sampled", self.p)
        assert torch.isclose(m * (1 - m), torch.zeros_like(m)).all()
        torch.testing.assert_close(m.mean(0), self.p[0], atol=0.01, rtol=0)

    def test_its_gradient_passes_straight_through(self):
        p = self.p[:5].clone().requires_grad_()
        direction = torch.randn(5, 3, dtype=torch.float64)
        (self.draw("sampled", p) * direction).sum().backward()
        torch.testing.assert_close(p.grad, direction)

    def test_relaxed_masks_lie_between_and_round_to_the_same_frequency(self):
        p = self.p.clone().requires_grad_()
        m = self.draw("relaxed", p)
        assert ((m > 0) & (m < 1)).all()
        torch.testing.assert_close((m > 0.5).double().mean(0), self.p[0], atol=0.01, rtol=0)
        m.sum().backward()
        assert (p.grad > 0).all()

    @pytest.mark.parametrize("mask", ["sampled", "relaxed"])
    def test_sure_masks_have_finite_gradients_in_bfloat16(self, mask):
        p = torch.tensor([0.0, 1e-4, 0.5, 0.999, 1.0]).bfloat16().expand(100, 5).clone().requires_grad_()
        self.draw(mask, p).float().square().sum().backward()
        assert p.grad.isfinite().all()

    def test_soft_masks_are_the_probabilities(self):
        assert self.draw("soft", self.p) is self.p

    def test_feature_maps_are_taken_whole(self):
        method = AMRClasses((1, 16, 16), None, 2, network=Conv(d_h=64, width=4))
        h1, h2 = torch.zeros(3, 4, 4, 4), torch.ones(3, 4, 4, 4)
        mixed = method.mix_to(h1, h2, torch.rand(3, 2), generator=torch.Generator().manual_seed(0))
        assert ((mixed == 0) | (mixed == 1)).all()
        assert (mixed.flatten(2).amax(2) == mixed.flatten(2).amin(2)).all()


class TestTargets:
    def test_convex_targets_are_one_draw_a_mix(self):
        y1, y2 = torch.tensor([[1.0, 0.0]]).expand(4000, 2), torch.tensor([[0.0, 0.0]]).expand(4000, 2)
        y = build(targets="convex")._target(y1, y2, torch.Generator().manual_seed(0))
        assert (y[:, 1] == 0).all()
        assert y[:, 0].mean().item() == pytest.approx(0.5, abs=0.02)
        assert y[:, 0].var().item() == pytest.approx(1 / 12, rel=0.05)
        both = build(targets="convex")._target(1 - y2, y2, torch.Generator().manual_seed(0))
        assert torch.equal(both[:, 0], both[:, 1])

    def test_crossover_targets_are_fair_independent_bits(self):
        y1, y2 = torch.ones(8000, 2), torch.zeros(8000, 2)
        y = build(targets="crossover")._target(y1, y2, torch.Generator().manual_seed(0))
        counts = torch.bincount((2 * y[:, 0] + y[:, 1]).long(), minlength=4) / 8000
        torch.testing.assert_close(counts, torch.full((4,), 0.25), atol=0.02, rtol=0)

    @pytest.mark.parametrize("targets", ["convex", "crossover"])
    def test_what_both_parents_have_is_never_asked_away(self, targets):
        same = torch.randint(2, (50, 2)).float()
        assert torch.equal(build(targets=targets)._target(same, same, None), same)


def test_an_embedding_of_the_target_alone_cannot_tell_which_parent_has_what():
    """Exchanging the parents leaves the target's law as it is, and turns the mix into its complement.

    So for every mask that is right for a pair, the same mask is wrong for the pair exchanged; with the
    parents' attributes as inputs the two orders can be told apart.
    """
    wanted = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    y1, y2 = wanted, 1 - wanted
    alone, seeing = build(), build(parents=True)
    assert torch.equal(alone.probabilities(wanted), alone.probabilities(wanted, y2, y1))
    assert not torch.equal(seeing.probabilities(wanted, y1, y2), seeing.probabilities(wanted, y2, y1))

    h1, h2 = torch.zeros(1, 6).double(), torch.ones(1, 6).double()
    torch.testing.assert_close(alone.mix_to(h1, h2, wanted) + alone.mix_to(h2, h1, wanted), h1 + h2)


def test_labels_stand_in_for_attributes_that_data_lack():
    torch.manual_seed(0)
    method = AMRClasses(SHAPE, 3, None, network=MLP(d_h=6, width=8)).double()
    losses, _ = method.losses(Batch(batch().x, batch().y))
    assert method.wanted == 3
    assert torch.isfinite(losses["critic"])


def test_with_attributes_unlabelled_images_are_accepted():
    build().begin(*PARTLY)


def test_reachable_recombinations():
    y1, y2 = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0])
    assert reachable(y1, y2).tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]
    assert reachable(y1, y1).tolist() == [[1, 0, 0]]
    for _ in range(10):
        a, b = torch.randint(2, (2, 4)).float()
        rows = reachable(a, b)
        assert len(rows) == 2 ** int((a != b).sum()) == len(rows.unique(dim=0))
        assert ((rows == a) | (rows == b)).all()


def test_a_second_head_leaves_the_first_as_it_was():
    torch.manual_seed(0)
    adversary = Conv(width=4).critic((1, 16, 16))
    state = {k: v.clone() for k, v in adversary.state_dict().items()}
    critic = ClassifyingCritic(adversary, 3, (1, 16, 16))
    assert all(torch.equal(v, state[k]) for k, v in critic.adversary.state_dict().items())
    x = torch.rand(2, 1, 16, 16)
    critic.eval()
    assert torch.equal(critic(x), adversary(x))
    assert critic.classify(x).shape == (2, 3)
    assert isinstance(critic.classifier, nn.Linear)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AMRClasses(SHAPE), "attributes .* or labels.*acai need neither"),
        (lambda: build().losses(Batch(batch().x)), "without attributes"),
        (
            lambda: AMRClasses(SHAPE, 3, network=MLP(d_h=6, width=8)).begin(
                torch.zeros(1), torch.tensor([0, 2, -1])
            ),
            "needs the label of every image",
        ),
        (lambda: build().probabilities(torch.zeros(1, 3).double()), "2 columns"),
        (lambda: build().probabilities(torch.zeros(2).double()), "2 columns"),
        (lambda: build(parents=True).probabilities(torch.zeros(1, 2).double()), "y1 and y2 are needed"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
