"""GAIA: hand-computed losses, the balance of the two sides, its networks; and attribute vectors."""

import math

import pytest
import torch
from torch import nn

from latentmix.methods import Batch
from latentmix.methods import attribute_vectors as attributes
from latentmix.methods.autoencoder import Autoencoder
from latentmix.methods.gaia import GAIA, structure_loss
from latentmix.mixing import Mix
from latentmix.mixing.mixers import Midpoint
from latentmix.networks.conv import parameter_count
from latentmix.networks.gaia import ContentStyle
from latentmix.networks.mlp import MLP
from latentmix.training.step import make_optimisers, step

SHAPE = (1, 4, 4)


class Half:
    """The even mix with the next sample."""

    def __call__(self, h, generator=None):
        first = torch.arange(len(h))
        return Mix(torch.stack([first, first.roll(-1)]), torch.full((2, len(h)), 0.5, dtype=h.dtype))


def build(**options):
    torch.manual_seed(0)
    return GAIA(SHAPE, 3, network=MLP(d_h=5, width=16), **options).double()


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1
    return Batch(x, torch.arange(n) % 3, generator=generator)


def sigmoid(t):
    return 1 / (1 + math.exp(-20 * t))


def test_losses_equal_a_hand_computed_case():
    method = build(mixer=Half(), distance=0.1)
    x = batch().x
    losses, values = method.losses(batch())
    h = method.encode(x)
    x_hat, s = method.decode(h), method.decode((h + h.roll(-1, 0)) / 2)

    def error(a, b):  # in units of pixels from 0 to 1
        return ((a + 1) / 2 - (b + 1) / 2).abs().mean().item()

    r, f_r, f_s = error(x, method.critic(x)), error(x, method.critic(x_hat)), error(s, method.critic(s))
    f = (f_r + f_s) / 2
    p = min(sigmoid(0.5 * f_s - r), 0.9)
    q = sigmoid(f_s - f_r)
    expected = q * f_s + (1 - q) * f_r + 0.1 * structure_loss(x, h).item()
    assert losses["critic"].item() == pytest.approx(r - p * f, rel=1e-6)
    assert losses["autoencoder"].item() == pytest.approx(expected, rel=1e-6)
    rates = method.rates(values, 0.0)
    assert rates["critic"].item() == pytest.approx(sigmoid(r - f), rel=1e-6)
    assert rates["critic"] + rates["autoencoder"] == 1


def test_the_reconstruction_is_learnt_through_the_judge_alone():
    """Of a judge that answers one picture to everything, F_r teaches nothing: there is no term |x - G(x)|."""
    method = build(mixer=Half(), distance=0.0)

    class Blind(nn.Module):
        def forward(self, x):
            return 0 * x

    method.critic = Blind()
    _, values = method.losses(batch())
    gradients = torch.autograd.grad(values["judge_reconstruction"], list(method.autoencoder.parameters()))
    assert not any(g.any() for g in gradients)


@pytest.mark.parametrize(("real", "fake", "slower"), [(0.05, 0.4, "critic"), (0.4, 0.05, "autoencoder")])
def test_whoever_is_ahead_slows_down(real, fake, slower):
    """The judge is ahead when it reconstructs fakes much worse than real images."""
    method = build()
    share = torch.sigmoid(torch.tensor(20 * (real - fake)))
    rates = method.rates({"rate_critic": share}, 0.0)
    assert min(rates, key=rates.get) == slower


def test_the_loop_splits_the_learning_rate_between_the_two():
    """One step of Adam moves each weight by about the rate: together the two move by the whole of it."""
    method = build()
    before = {n: p.detach().clone() for n, p in method.named_parameters()}
    optimisers = make_optimisers(method, lr=1e-3)
    _, values = step(method, batch(), optimisers)
    share = values["rate_critic"].item()
    for player, expected in (("critic", share), ("autoencoder", 1 - share)):
        weights = {n: p for n, p in method.named_parameters() if n.startswith(player)}
        moved = max((p - before[n]).abs().max().item() for n, p in weights.items())
        assert moved == pytest.approx(1e-3 * expected, rel=1e-2)
        assert optimisers[player].param_groups[0]["initial_lr"] == 1e-3


class TestStructureLoss:
    def test_is_zero_when_codes_lie_as_the_images_do_at_any_scale(self):
        x = torch.randn(7, 3, 2, 2, dtype=torch.float64)
        assert structure_loss(x, 5 * x.flatten(1)).item() == pytest.approx(0, abs=1e-12)

    def test_equals_a_double_loop(self):
        x, h = torch.randn(4, 6), torch.randn(4, 2)

        def scaled(points):
            s = torch.tensor([[((a - b) ** 2).mean().item() for b in points] for a in points])
            return s / s.mean()

        expected = (torch.log(1 + scaled(x)) - torch.log(1 + scaled(h))).square().mean()
        torch.testing.assert_close(structure_loss(x, h), expected)

    def test_equal_images_are_no_division_by_zero(self):
        assert torch.isfinite(structure_loss(torch.ones(3, 4), torch.zeros(3, 2)))


class TestNetworks:
    @pytest.mark.parametrize("side", [32, 64])
    def test_shapes(self, side):
        network, shape = ContentStyle(d_h=12, width=4), (3, side, side)
        x = torch.rand(2, *shape) * 2 - 1
        model, judge = network.autoencoder(shape), network.judge(shape)
        assert model.encode(x).shape == (2, 12)
        assert model(x).shape == judge(x).shape == x.shape
        assert judge(x).abs().max() <= 1
        assert network.critic(shape)(x).shape == (2,)

    def test_the_judge_is_the_smaller_of_the_two(self):
        network, shape = ContentStyle(), (3, 64, 64)
        assert parameter_count(network.judge(shape)) * 2 < parameter_count(network.autoencoder(shape))

    def test_style_moves_every_place(self):
        torch.manual_seed(0)
        decoder = ContentStyle(d_h=8, width=4).autoencoder((1, 32, 32)).decoder.double()
        h = torch.randn(1, 8, dtype=torch.float64)
        style = h.clone()
        style[:, 4:] += 1
        assert ((decoder(style) - decoder(h)).abs() > 1e-9).double().mean() > 0.9

    @pytest.mark.parametrize("options", [{"d_h": 3}, {"width": 0}, {"blocks": 0}])
    def test_bad_sizes_are_refused(self, options):
        with pytest.raises(ValueError, match="even d_h"):
            ContentStyle(**options)

    def test_bad_images_are_refused(self):
        with pytest.raises(ValueError, match="32, 64, 128"):
            ContentStyle().autoencoder((3, 28, 28))


def test_published_constants_are_the_defaults():
    method = GAIA((1, 32, 32))
    assert (method.mixer, method.distance) == (Midpoint(std=0.25), 5e-5)
    assert (method.betas, method.weight_decay) == ((0.9, 0.999), 0.0)


class Single(torch.Tensor):
    """A tensor as on a device that knows no double."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.double or any(each is torch.float64 for each in args):
            raise TypeError("this device knows no double")
        result = super().__torch_function__(func, types, args, kwargs or {})
        return result.as_subclass(torch.Tensor) if func is torch.Tensor.cpu else result


class TestAttributeVectors:
    @staticmethod
    def confounded(n=4000):
        """Codes made of two known directions; the second attribute mostly comes with the first."""
        generator = torch.Generator().manual_seed(0)
        first = torch.rand(n, generator=generator) < 0.5
        second = torch.rand(n, generator=generator) < torch.where(first, 0.9, 0.1)
        y = torch.stack([first, second], 1).double()
        v = torch.tensor([[1.0, 0, 0, 2], [0, 3, 0, 0]], dtype=torch.float64)
        noise = 0.1 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
        return (y @ v + 0.5 + noise).reshape(n, 2, 2), y, v.reshape(2, 2, 2)

    def test_least_squares_finds_the_directions_despite_confounding(self):
        codes, y, v = self.confounded()
        torch.testing.assert_close(attributes.least_squares(codes, y), v, atol=0.02, rtol=0)

    def test_differences_of_means_are_confounded(self):
        codes, y, v = self.confounded()
        found = attributes.differences(codes, y)
        leak = y[y[:, 1] == 1, 0].mean() - y[y[:, 1] == 0, 0].mean()  # 0.8: one comes with the other
        torch.testing.assert_close(found[1], v[1] + leak * v[0], atol=0.02, rtol=0)

    def test_class_means(self):
        codes = torch.tensor([[1.0, 0], [3, 0], [0, 8]])
        y = torch.tensor([[1, 0], [1, 1], [0, 1]])
        assert attributes.class_means(codes, y).tolist() == [[2, 0], [1.5, 4]]
        assert attributes.differences(codes, y).tolist() == [[2, -8], [0.5, 4]]

    def test_editing_moves_the_code(self):
        torch.manual_seed(0)
        method = Autoencoder(SHAPE, network=MLP(d_h=5, width=8))
        x, v = batch().x.float(), torch.randn(5)
        torch.testing.assert_close(attributes.edit(method, x, v, 0.0), method.decode(method.encode(x)))
        moved = attributes.edit(method, x, v, torch.arange(6.0))
        torch.testing.assert_close(moved[3], method.decode(method.encode(x[3:4]) + 3 * v)[0])

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: attributes.least_squares(torch.zeros(5, 2), torch.zeros(4, 1)), "do not fit 5 codes"),
            (lambda: attributes.least_squares(torch.zeros(2, 2), torch.zeros(2, 3)), "cannot decide 4"),
            (lambda: attributes.least_squares(torch.zeros(9, 2), torch.ones(9, 1)), "rank 1"),
            (lambda: attributes.class_means(torch.zeros(3, 2), torch.tensor([[1, 0]] * 3)), "attribute 1"),
            (lambda: attributes.differences(torch.zeros(3, 2), torch.tensor([[1]] * 3)), "no image has"),
        ],
    )
    def test_bad_input_is_refused(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()

    @pytest.mark.parametrize(
        "fit", [attributes.least_squares, attributes.class_means, attributes.differences]
    )
    def test_codes_and_attributes_of_a_device_without_double_are_moved_first(self, fit):
        codes, y, _ = self.confounded(50)
        found = fit(Single(codes.float()), Single(y.float()))
        torch.testing.assert_close(found, fit(codes.float(), y.float()))

    def test_a_vector_of_another_shape_is_refused(self):
        method = Autoencoder(SHAPE, network=MLP(d_h=5, width=8))
        with pytest.raises(ValueError, match=r"shape \(5,\), the vector \(4,\)"):
            attributes.edit(method, batch().x.float(), torch.zeros(4))
