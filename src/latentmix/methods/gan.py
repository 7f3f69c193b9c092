"""Generative adversarial networks trained with or without mixup (Manifold Mixup, section 4.4 and table 6)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from latentmix.methods import Batch, Losses, Method, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.gan_losses import (
    LOSSES,
    PIXELS,
    Loss,
    Places,
    at_least_float32,
    draw_place,
    draw_shares,
    fake_real,
    gradient_penalty,
    judged_mixes,
    refuse_places,
    split_at,
)
from latentmix.methods.portions import in_portions
from latentmix.networks import GenerativeNetwork, treats_images_alone
from latentmix.networks.gan_small import GanSmall


class GAN(Method):
    """A GAN whose critic also learns that mixes of real and generated images count as generated.

    min_D l(D(x), 1) + l(D(g), 0) + l(D_k(lam h_k(x) + (1 - lam) h_k(g)), 0)        "fr": equation 2
                     + l(D_k(lam h_k(g) + (1 - lam) h_k(g')), 0)                    "fr_ff": and equation 3
    min_G l(D(g), 1),  g = G(z),  z ~ N(0, I),  lam = min(lam', 1 - lam'),  lam' ~ Beta(alpha, alpha)

    h_k is the critic up to a place k that is drawn for each batch, D_k is the rest of it, and g' is a
    permutation of the generated images. lam is drawn for each sample and is the same for both mixes; the i-th
    real image is mixed with the i-th generated one. mixing="pixels" is the older objective, in which the
    critic sees only mixes and estimates lam: min_D l(D(lam x + (1 - lam) g), lam),
    min_G l(D(lam x + (1 - lam) g), 1 - lam) (equation 1). With `every={"generator": n}`, a run takes n steps
    of the critic for each step of the generator.

    Arguments:
        shape: Shape of an image, (C, H, W).
        network: The architecture; it needs `generator` and `critic`. Spectral norm is one of its options.
        loss: The loss l: "non_saturating" is the cross-entropy on logits; "hinge" is relu(1 - D) for real and
            relu(1 + D) for generated images, and -D for the generator.
        penalty: Weight gamma of the gradient penalty, the mean of |grad_x D(x)|^2 over real images, where D
            is the critic's probability, or its raw output with "hinge"; 0 for no penalty.
        mixing: "none", "pixels" (equation 1), "fr" (equation 2) or "fr_ff" (equations 2 and 3).
        places: Where to mix: "pixels" and names of parts of the critic, drawn with equal probability.
        alpha: Concentration of lam'.
        fold: Whether lam is folded, so that the generated image has the larger weight. Equation 1 is often
            used with fold=false.
        mix_labels: Labels of mixes: "hard" labels are 0; a "soft" label is the share of the real image, that
            is lam, or 0 for mixes of generated images. Not used with equation 1, which defines its labels.
        form: With "clean", the penalty is a term of the critic's loss. With "paper", as in the published
            code, the penalty is a second step of the same optimiser; and inside the critic, only the first
            real image is mixed with the first generated one, with as many values of lam as there are samples.
        d_z: Number of latent units.
        average: Decay of the moving average of the generator's weights, from which samples are drawn; it is
            at most (1 + t) / (10 + t) after t steps. 0 for no average.
        one_pass: Whether one backward pass through the critic serves both players. This is exact for the
            non-saturating loss with hard labels, mixes at the place "pixels" by equations 2 and 3, and
            critics that treat images independently. By default it is used wherever it is exact.

    Raises:
        ValueError: The critic has no such place, or one pass is asked for where it is not exact.

    References:
        "Manifold Mixup", Verma et al., arXiv 1806.05236 v1, section 4.4 and table 6; what the text leaves
        open follows the code published with it.
    """

    label = "GAN"
    lr = 2e-4
    betas = (0.0, 0.999)
    weight_decay = 0.0
    updates: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        network: GenerativeNetwork = GanSmall(),  # noqa: B008, a frozen value
        loss: Loss = "non_saturating",
        penalty: Annotated[float, Field(ge=0)] = 0.0,
        mixing: Literal["none", "pixels", "fr", "fr_ff"] = "none",
        places: Places = (PIXELS,),
        alpha: Annotated[float, Field(gt=0, le=1e6)] = 0.2,
        fold: bool = True,
        mix_labels: Literal["hard", "soft"] = "hard",
        form: Literal["clean", "paper"] = "clean",
        d_z: Annotated[int, Field(ge=1)] = 62,
        average: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        one_pass: bool | None = None,
    ) -> None:
        super().__init__()
        self.generator, self.critic = network.generator(shape, d_z), network.critic(shape)
        self.code_shape = (d_z,)
        self.judge, self.fool = LOSSES[loss]
        self.loss, self.penalty, self.form, self.decay = loss, penalty, form, average
        self.mixing, self.alpha, self.fold, self.mix_labels = mixing, alpha, fold, mix_labels
        self.places = tuple(places) if mixing != "none" else (PIXELS,)
        if mixing == "pixels" and self.places != (PIXELS,):
            raise ValueError("mixing=pixels mixes pixels alone; for other places take mixing=fr or fr_ff")
        refuse_places(self.critic, self.places)
        self.one_pass = self._one_pass_wanted(one_pass)
        self.average: nn.Module | None = None
        if average:
            self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.register_buffer("updates", torch.zeros(()))
        kind = "SN-GAN" if getattr(network, "spectral", False) else "GAN-GP" if penalty else "GAN"
        mixes = {"none": "", "pixels": ", mixup", "fr": ", mixes FR", "fr_ff": ", mixes FR+FF"}[mixing]
        self.label = f"{kind}{', hinge' if loss == 'hinge' else ''}{mixes}"

    def losses(self, batch: Batch) -> Losses:
        """Compute the game of one batch; with form="paper", the penalty is left out (see `stages`)."""
        real, size = batch.x, len(batch.x)
        z = torch.randn(
            size, *self.code_shape, device=real.device, dtype=real.dtype, generator=batch.generator
        )
        fake = self.generator(z)
        if self.mixing == "pixels":
            fool, judge = self._tell_shares(real, fake, batch.generator)
        else:
            fool, judge = self._judge_mixes(real, fake, batch)
        values = {"fool": fool, "critic": judge}
        if self.penalty and self.form == "clean":
            values["penalty"] = self._penalty(real)
            judge = judge + self.penalty * values["penalty"]
        return {"generator": fool, "critic": judge}, values

    def stages(self, batch: Batch) -> Iterator[Losses]:
        """Yield the game and, with form="paper", the penalty; then update the generator's average."""
        yield self.losses(batch)
        if self.penalty and self.form == "paper" and _steps(self.critic):
            penalty = self._penalty(batch.x)
            yield {"critic": self.penalty * penalty}, {"penalty": penalty}
        if self.average is not None and _steps(self.generator):
            self._update_average(self.average)

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the critic's logits of the images and of as many samples; their z are drawn anew."""
        fake = self.sample(len(batch.x), batch.generator)
        return {"logit_real": self.critic(batch.x).float(), "logit_fake": self.critic(fake).float()}

    def decode(self, h: Tensor) -> Tensor:
        """Map latent vectors (B, d_z) to images (B, C, H, W), by the averaged weights if there are any."""
        return (self.generator if self.average is None else self.average)(h)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Generate n images in evaluation mode from z ~ N(0, I), drawn on the device of `generator`."""
        network = self.generator if self.average is None else self.average
        device = next(network.parameters()).device
        drawn_on = device if generator is None else generator.device
        z = torch.randn(n, *self.code_shape, generator=generator, device=drawn_on).to(device)
        training = network.training
        network.eval()
        images = in_portions(self, "decode", z)
        network.train(training)
        return images

    def _tell_shares(
        self, real: Tensor, fake: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Compute the losses of generator and critic by equation 1."""
        lam = self._shares(real, generator)
        mixed = fake_real(lam)(torch.cat([real, fake]))[: len(real)]
        s = at_least_float32(self.critic(mixed))
        lam = lam.to(s.dtype)
        return self.fool(s, 1 - lam), self.judge(s, lam)

    def _judge_mixes(self, real: Tensor, fake: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the losses of generator and critic, without mixes or with those of equations 2 and 3."""
        place = draw_place(self.places, batch.host)
        until, rest = split_at(self.critic, place)
        h = until(torch.cat([real, fake]))
        mixes, labels = self._mix(h, place, batch.generator) if self.mixing != "none" else ([], [])
        if self.one_pass and place == PIXELS:
            game = duel(self.critic, real, [fake, *mixes], one_pass=True)
            return game.fool[0], game.judge
        s_real, s_fake = at_least_float32(rest(h)).chunk(2)
        judge = self.judge(s_real, 1.0) + self.judge(s_fake, 0.0)
        if mixes:
            s_mixes = at_least_float32(rest(torch.cat(mixes))).chunk(len(mixes))
            judge = judge + sum(self.judge(s, t.to(s.dtype)) for s, t in zip(s_mixes, labels))
        return self.fool(s_fake, 1.0), judge

    def _mix(
        self, h: Tensor, place: str, generator: torch.Generator | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the mixes of a batch at its place, each (B, ...), and their labels, each (B,).

        Arguments:
            h: Real and generated images, or the critic's features of them at the place, (2B, ...).
        """
        real, fake = h.chunk(2)
        first_pair = self.form == "paper" and place != PIXELS
        return judged_mixes(
            h,
            self._shares(real, generator),
            generator,
            fakes=self.mixing == "fr_ff",
            soft=self.mix_labels == "soft",
            pairs=torch.cat([x[:1].expand_as(x) for x in (real, fake)]) if first_pair else None,
        )

    def _shares(self, real: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw lam for each sample, in float32 at least, because labels need that precision."""
        lam = draw_shares(len(real), self.alpha, fold=self.fold, device=real.device, generator=generator)
        return lam.to(torch.promote_types(real.dtype, torch.float32))

    def _penalty(self, real: Tensor) -> Tensor:
        return gradient_penalty(self.critic, real, of_probability=self.loss == "non_saturating")

    @torch.no_grad()
    def _update_average(self, average: nn.Module) -> None:
        """Update weights and norm statistics: average <- d average + (1 - d) generator.

        The decay is d = min(decay, (1 + t) / (10 + t)) after t updates.
        """
        t = self.updates
        keep = ((1 + t) / (10 + t)).clamp_max(self.decay)
        for old, new in zip(average.state_dict().values(), self.generator.state_dict().values()):
            if old.is_floating_point():
                old.lerp_(new, (1 - keep).to(old.dtype))
            else:
                old.copy_(new)
        self.updates += 1

    def _one_pass_wanted(self, one_pass: bool | None) -> bool:
        """Decide whether batches without mixes, or with mixes at the place "pixels", take one pass."""
        hindrances = {
            f"loss={self.loss}": self.loss != "non_saturating",
            "mixing=pixels, which has no images of one label": self.mixing == "pixels",
            "mix_labels=soft": self.mix_labels == "soft" and self.mixing != "none",
            "a critic that does not treat images independently": not treats_images_alone(self.critic),
            "places inside the critic": bool(one_pass) and self.places != (PIXELS,),
        }
        there = [what for what, is_there in hindrances.items() if is_there]
        if one_pass and there:
            raise ValueError(f"one_pass=true is not exact with {there[0]}; leave it out for two passes")
        return one_pass is not False and not there


def _steps(player: nn.Module) -> bool:
    """Whether a player steps on this batch; the loop freezes players that do not."""
    return any(p.requires_grad for p in player.parameters())
