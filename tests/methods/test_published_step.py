"""protocol=paper against the published training step, written by hand: ten batches in float64.

What the published code does is written here in plain PyTorch and in its order: gradients of the autoencoder
on every fifth batch of an epoch, then the critic, then the probe, each with an Adam of its own; the critic
judges every set of images in a pass of its own, and every pass takes one power iteration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix import config, runs
from latentmix.data import load
from latentmix.data.sources.digits import Digits
from latentmix.mixing import Mix
from latentmix.training import loop
from latentmix.training.device import Runtime

BATCHES = 10
CONV = {"name": "conv", "d_h": 32, "width": 4}
BURGESS = {"name": "burgess", "d_h": 10, "width": 8}
SMALL, SPRITE = 16, 64  # pixels
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "AE+GAN": ({"name": "ae_gan", "lamb": 5.0, "network": CONV}, SMALL),
    "AMR mixup": ({"name": "amr", "mixer": "mixup", "network": CONV}, SMALL),
    "AMR Bernoulli": ({"name": "amr", "mixer": "bernoulli", "network": CONV}, SMALL),
    "ACAI": ({"name": "acai_of_amr", "lamb": 2.0, "network": CONV}, SMALL),
    "VAE": ({"name": "vae", "beta": 100.0, "network": BURGESS}, SPRITE),
    "AMR of sprites": ({"name": "amr", "mixer": "bernoulli", "lamb": 1.0, "network": BURGESS}, SPRITE),
}


class Normalised(nn.Module):
    """A convolution or linear layer whose weight is divided by its largest singular value, as published."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.bias, self.weight = layer.bias, layer.weight
        self.options = {"stride": layer.stride, "padding": layer.padding} if layer.weight.ndim == 4 else None
        self.u = self.v = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.weight.detach().reshape(len(self.weight), -1)
        self.v = matrix.T @ self.u
        self.v = self.v / (self.v.norm() + 1e-12)
        self.u = matrix @ self.v
        self.u = self.u / (self.u.norm() + 1e-12)
        weight = self.weight / self.u.dot(self.weight.reshape(matrix.shape) @ self.v)
        if self.options is None:
            return F.linear(x, weight, self.bias)
        return F.conv2d(x, weight, self.bias, **self.options)


def plain(layer: nn.Module) -> list[nn.Module]:
    return [layer, nn.LeakyReLU()]


def with_norm(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(layer.out_channels, affine=True), nn.LeakyReLU()]


def encoder(activated: Callable[[nn.Conv2d], list[nn.Module]], maps: int, width: int) -> list[nn.Module]:
    """Two scales for 16 pixels; the stem is a 1x1 convolution with a frame of one pixel."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 1, padding=1)]
    for c_in, c_out in ((width, width), (width, 2 * width)):
        layers += activated(nn.Conv2d(c_in, c_out, 3, padding=1))
        layers += [*activated(nn.Conv2d(c_out, c_out, 3, padding=1)), nn.AvgPool2d(2)]
    layers += activated(nn.Conv2d(2 * width, 4 * width, 3, padding=1))
    return [*layers, nn.Conv2d(4 * width, maps, 3, padding=1)]


def decoder(maps: int, width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for c_in, c_out in ((maps, 2 * width), (2 * width, width)):
        layers += with_norm(nn.Conv2d(c_in, c_out, 3, padding=1))
        layers += [*with_norm(nn.Conv2d(c_out, c_out, 3, padding=1)), nn.Upsample(scale_factor=2)]
    return [*layers, *with_norm(nn.Conv2d(width, width, 3, padding=1)), nn.Conv2d(width, 1, 3, padding=1)]


def sprite_encoder(width: int, units: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for c_in in (1, width, width, width):
        layers += [nn.Conv2d(c_in, width, 4, 2, 1), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(16 * width, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return [*layers, nn.Linear(256, units)]


def sprite_decoder() -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    layers += [nn.Linear(256, 512), nn.ReLU(), nn.Unflatten(1, (32, 4, 4))]
    for _ in range(3):
        layers += [nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU()]
    return [*layers, nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh()]


def normalised(layers: list[nn.Module], *, stem: bool) -> nn.Sequential:
    """Spectral norm on every layer with a weight, except for the stem where that is plain."""
    first = layers[0]
    return nn.Sequential(
        *(x if (x is first and not stem) or not hasattr(x, "weight") else Normalised(x) for x in layers)
    )


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    ours, theirs = list(source.parameters()), list(target.parameters())
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    with torch.no_grad():
        for p, q in zip(ours, theirs):
            q.copy_(p)
    vectors = {name: b for name, b in source.named_buffers() if name.endswith(("_u", "_v"))}
    norms = [module for module in target.modules() if isinstance(module, Normalised)]
    for module, name in zip(norms, [n for n in vectors if n.endswith("_u")], strict=True):
        module.u = vectors[name].clone()


def bce(p: Tensor, target: float | Tensor) -> Tensor:
    return F.binary_cross_entropy(p, torch.ones_like(p) * target)


class Published:
    """The published step of one system; `ours` gives the first weights."""

    def __init__(self, case: str, ours: nn.Module) -> None:
        self.case, self.sprites = case, CASES[case][1] == SPRITE
        settings = CASES[case][0]
        self.lamb, self.beta = settings.get("lamb", 10.0), settings.get("beta", 0.0)
        if self.sprites:
            parts = sprite_encoder(32, 20 if case == "VAE" else 10), sprite_decoder()
            critic = [*sprite_encoder(8, 1), nn.Flatten(0)]
        else:
            parts = encoder(with_norm, 2, 4), decoder(2, 4)
            critic = encoder(plain, 2, 4)
        self.f, self.g = (nn.Sequential(*layers).double() for layers in parts)
        self.probe = nn.Linear(math.prod(ours.code_shape), 10).double()
        copy_weights(ours.autoencoder, nn.ModuleList([self.f, self.g]))
        copy_weights(ours.probe, self.probe)
        vae = case == "VAE"
        betas, decay = (0.9 if vae else 0.5, 0.99), 0.0 if self.sprites else 1e-5

        def adam(*modules: nn.Module) -> torch.optim.Optimizer:
            parameters = [p for module in modules for p in module.parameters()]
            return torch.optim.Adam(parameters, lr=1e-4, betas=betas, weight_decay=decay, foreach=False)

        self.of_autoencoder, self.of_probe = adam(self.f, self.g), adam(self.probe)
        self.critic = nn.Sequential()
        if not vae:
            self.critic = normalised(critic, stem=self.sprites).double()
            copy_weights(ours.critic, self.critic)
            self.of_critic = adam(self.critic)

    def d(self, x: Tensor) -> Tensor:
        """Probability of being real."""
        return torch.sigmoid(self.critic(x).reshape(len(x), -1).mean(-1))

    def error(self, x_hat: Tensor, x: Tensor) -> Tensor:
        if not self.sprites:
            return (x_hat - x).abs().mean()
        return F.binary_cross_entropy(x_hat * 0.5 + 0.5, x * 0.5 + 0.5, reduction="sum") / len(x)

    def step(self, x: Tensor, y: Tensor, i: int, mix: Mix | None, noise: Tensor) -> None:
        """One batch, the i-th of its epoch."""
        h = self.f(x)
        if self.case == "VAE":
            self.step_vae(h, x, noise)
            h = h[:, :10]
        elif self.case == "AE+GAN":
            x_hat = self.g(h)
            fool = bce(self.d(x_hat), 1)
            self.d(x_hat)  # that of a mix, discarded: only the power iteration goes on
            self.descend(self.lamb * self.error(x_hat, x) + fool, i)
            self.judge(bce(self.d(x), 1) + bce(self.d(x_hat.detach()), 0))
        else:
            assert mix is not None
            a = mix.weights[0].to(h).reshape(*mix.weights[0].shape, *[1] * (h.ndim - mix.weights[0].ndim))
            x_hat, x_mix = self.g(h), self.g(a * h + (1 - a) * h[mix.partners[1]])
            error = self.lamb * self.error(x_hat, x)
            if self.case == "ACAI":
                self.descend(error + bce(self.d(x_mix), 0), i)
                target = 2 * torch.minimum(a, 1 - a).flatten()
                judged = bce(self.d(x), 0) + bce(self.d(x_hat.detach()), 0)
                self.judge(judged + bce(self.d(x_mix.detach()), target))
            else:
                self.descend(error + bce(self.d(x_hat), 1) + bce(self.d(x_mix), 1), i)
                judged = bce(self.d(x), 1) + bce(self.d(x_hat.detach()), 0)
                self.judge(judged + bce(self.d(x_mix.detach()), 0))
        self.of_probe.zero_grad()
        F.nll_loss(F.log_softmax(self.probe(h.detach().flatten(1)), 1), y).backward()
        self.of_probe.step()

    def step_vae(self, h: Tensor, x: Tensor, noise: Tensor) -> None:
        """The second half of the code is the deviation; the divergence is a mean over the units too."""
        mean, deviation = h[:, :10], h[:, 10:]
        kl = (mean**2 + deviation**2 - 1) / 2 - deviation.abs().log()
        self.descend(self.error(self.g(mean + deviation * noise), x) + self.beta * kl.mean(), 0)

    def descend(self, loss: Tensor, i: int) -> None:
        if i % 5 == 0:
            self.of_autoencoder.zero_grad()
            loss.backward()
            self.of_autoencoder.step()

    def judge(self, loss: Tensor) -> None:
        self.of_critic.zero_grad()
        loss.backward()
        self.of_critic.step()

    def parameters(self) -> Iterator[Tensor]:
        for module in (self.f, self.g, self.critic, self.probe):
            yield from module.parameters()


class Drawn:
    """A mixer that keeps what was drawn. Mixup is drawn in float64, as a and 1 - a."""

    k = 2

    def __init__(self, mixer: Any) -> None:
        self.mixer, self.last = mixer, None

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        self.last = self.mixer(h, generator)
        if type(self.mixer).__name__ == "Mixup":
            a = torch.rand(len(h), dtype=h.dtype, generator=generator)
            self.last = Mix(self.last.partners, torch.stack([a, 1 - a]))
        return self.last


class Silent(loop.Silent):
    """No news."""


@pytest.mark.parametrize("case", CASES)
def test_ten_batches_by_protocol_paper_equal_the_published_step(case: str) -> None:
    """Two epochs of which the first has seven batches, the last of them smaller; through the loop itself."""
    settings, size = CASES[case]
    given = {"image_size": size, "train_size": 50, "batch_size": 8, "epochs": 2, "out": "-"}
    run = config.resolve({"protocol": "paper", "method": settings, "data": "digits", **given})
    data = load(Digits(), image_size=size, train_size=50, subset=run.subset)
    torch.manual_seed(0)
    method = runs.make_method(runs.describe(run, data), None).double()
    mixer = Drawn(method.mixer) if hasattr(method, "mixer") else None
    if mixer is not None:
        method.mixer = mixer
    theirs = Published(case, method)
    trainer = loop.Trainer(run, data, Runtime("cpu", "fp32"), Silent(), method=method)
    images = trainer.batches._images
    trainer.batches._images = lambda rows, host: images(rows, host).double()  # type: ignore[method-assign]

    assert trainer.steps_per_epoch == 7
    for number in range(BATCHES):
        batch, generator = trainer.batches(number), torch.Generator()
        generator.set_state(trainer.generator.get_state())
        noise = torch.empty(len(batch.x), 10, dtype=torch.float64).normal_(generator=generator)
        trainer.method.train()
        trainer.step(number, number % 7)
        assert batch.y is not None
        theirs.step(batch.x, batch.y, number % 7, mixer.last if mixer else None, noise)
    players = [method.autoencoder, getattr(method, "critic", nn.Identity()), method.probe]
    ours = [p for player in players for p in player.parameters()]
    assert len(ours) == len(list(theirs.parameters())) > 20
    for p, q in zip(ours, theirs.parameters()):
        assert (p - q).abs().max() < 1e-9
