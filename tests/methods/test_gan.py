"""GANs with mixup: losses, mixes, labels and penalty against formulas; the published steps; resuming."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor, nn

from latentmix import config, runs
from latentmix.methods import Batch
from latentmix.methods.gan import GAN
from latentmix.methods.gan_losses import (
    cross_entropy,
    draw_shares,
    fake_fake,
    fake_real,
    gradient_penalty,
    hinge,
    places_of,
    split_at,
)
from latentmix.methods.roles import Decodes, Encodes, Samples
from latentmix.mixing import Mix, dirichlet
from latentmix.networks import Critic
from latentmix.networks.gan_small import GanSmall
from latentmix.runs import checkpoints
from latentmix.scoring import evaluate
from latentmix.training import loop
from latentmix.training import step as training_step
from latentmix.training.step import make_optimisers, step
from terminal import refusal, typed

SHAPE, B = (1, 8, 8), 6
PLAIN = GanSmall(width=2, spectral=False)


def made(**options: Any) -> GAN:
    torch.manual_seed(0)
    return GAN(SHAPE, **{"network": PLAIN, "d_z": 3, **options}).double()


def batch_of(seed: int = 0, size: int = B) -> Batch:
    x = torch.rand(size, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    return Batch(
        x,
        generator=torch.Generator().manual_seed(seed),
        host=torch.Generator().manual_seed(seed),
    )


def drawn(method: GAN, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Generated images, lam, and the permutation of mixes of generated images, as `losses` draws them."""
    generator = torch.Generator().manual_seed(0)
    z = torch.empty(B, 3, dtype=torch.float64).normal_(generator=generator)
    pair = dirichlet((B,), 2, 0.2, device=torch.device("cpu"), generator=generator)
    lam = torch.minimum(pair[0], pair[1]) if method.fold else pair[0]
    return method.generator(z), lam.double(), torch.randperm(B, generator=generator)


def log(x: Tensor) -> Tensor:
    return torch.log(x)


BY_HAND = {
    # Of one logit and its label, and what the generator pays for a logit.
    "non_saturating": (
        lambda s, t: -t * log(s.sigmoid()) - (1 - t) * log(1 - s.sigmoid()),
        lambda s: -log(s.sigmoid()),
    ),
    "hinge": (lambda s, t: t * (1 - s).clamp_min(0) + (1 - t) * (1 + s).clamp_min(0), lambda s: -s),
}


@pytest.mark.parametrize("loss", ["non_saturating", "hinge"])
@pytest.mark.parametrize("mixing", ["none", "fr", "fr_ff"])
@pytest.mark.parametrize("mix_labels", ["hard", "soft"])
@pytest.mark.parametrize("place", ["pixels", "stem", "block1"])
def test_losses_are_equations_2_and_3(loss: Any, mixing: Any, mix_labels: Any, place: str) -> None:
    method = made(loss=loss, mixing=mixing, mix_labels=mix_labels, places=(place,))
    batch = batch_of()
    losses, values = method.losses(batch)
    fake, lam, others = drawn(method, batch)
    cost, fool = BY_HAND[loss]
    parts = dict(method.critic.named_children())
    names = list(parts)
    k = 0 if place == "pixels" else names.index(place) + 1

    def h(x: Tensor) -> Tensor:
        for name in names[:k]:
            x = parts[name](x)
        return x

    def rest(x: Tensor) -> Tensor:
        for name in names[k:]:
            x = parts[name](x)
        return x

    expected, paid = [], []
    for i in range(B):
        x, g, t, g2 = batch.x[i : i + 1], fake[i : i + 1], lam[i], fake[others[i]][None]
        terms = [cost(rest(h(x)), 1), cost(rest(h(g)), 0)]
        if mixing != "none":
            terms.append(cost(rest(t * h(x) + (1 - t) * h(g)), t if mix_labels == "soft" else 0))
        if mixing == "fr_ff":
            terms.append(cost(rest(t * h(g) + (1 - t) * h(g2)), 0))
        expected.append(sum(terms))
        paid.append(fool(rest(h(g))))
    if mixing == "none" and place != "pixels":
        assert method.places == ("pixels",)
    torch.testing.assert_close(losses["critic"], torch.stack(expected).mean(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(losses["generator"], torch.stack(paid).mean(), rtol=1e-12, atol=1e-12)
    assert set(values) == {"fool", "critic"}
    for player in ("critic", "generator"):
        parameters = list(getattr(method, player).parameters())
        by_hand = torch.autograd.grad(
            torch.stack(expected if player == "critic" else paid).mean(), parameters, retain_graph=True
        )
        own = torch.autograd.grad(losses[player], parameters, retain_graph=True)
        for a, b in zip(own, by_hand):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["non_saturating", "hinge"])
@pytest.mark.parametrize("fold", [True, False])
def test_losses_are_equation_1(loss: Any, fold: bool) -> None:
    method = made(loss=loss, mixing="pixels", fold=fold)
    batch = batch_of()
    losses, _ = method.losses(batch)
    fake, lam, _ = drawn(method, batch)
    cost, fool = BY_HAND[loss]
    s = method.critic(lam.reshape(-1, 1, 1, 1) * batch.x + (1 - lam).reshape(-1, 1, 1, 1) * fake)
    flipped = cost(s, 1 - lam) if loss == "non_saturating" else (1 - lam) * fool(s) - lam * fool(s)
    torch.testing.assert_close(losses["critic"], cost(s, lam).mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(losses["generator"], flipped.mean(), rtol=1e-12, atol=0)
    torch.autograd.grad(losses["generator"], list(method.generator.parameters()))


def test_mixes_of_real_and_generated_are_a_mix_of_the_joint_batch() -> None:
    g = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(B, 2, 3, generator=g, dtype=torch.float64) for _ in range(2))
    lam = torch.rand(B, generator=g, dtype=torch.float64)
    joint = Mix(
        torch.stack([torch.arange(2 * B), torch.arange(2 * B).roll(B)]),
        torch.stack([torch.cat([lam, 1 - lam]), torch.cat([1 - lam, lam])]),
    )
    mix = fake_real(lam)
    assert torch.equal(mix.partners, joint.partners)
    torch.testing.assert_close(mix.weights, joint.weights, rtol=1e-15, atol=1e-15)
    w = lam.reshape(-1, 1, 1)
    mixed = mix(torch.cat([real, fake]))
    torch.testing.assert_close(mixed[:B], w * real + (1 - w) * fake, rtol=0, atol=0)
    torch.testing.assert_close(mixed[B:], mixed[:B], rtol=1e-14, atol=1e-15)
    labels = mix.labels(torch.cat([torch.ones(B), torch.zeros(B)]).double())
    torch.testing.assert_close(labels[:B], lam, rtol=0, atol=0)


def test_mixes_of_generated_images_take_a_permutation() -> None:
    lam = torch.rand(64)
    mix = fake_fake(lam, torch.Generator().manual_seed(0))
    assert torch.equal(mix.partners[1].sort().values, torch.arange(64))
    assert not torch.equal(mix.partners[1], torch.arange(64))
    assert torch.equal(mix.weights[0], lam)


def test_shares_are_folded_and_of_beta() -> None:
    def draw(fold: bool) -> Tensor:
        g = torch.Generator().manual_seed(0)
        return draw_shares(20_000, 0.2, fold=fold, device=torch.device("cpu"), generator=g)

    free, folded = draw(False), draw(True)
    torch.testing.assert_close(folded, torch.minimum(free, 1 - free), rtol=0, atol=1e-6)
    # Folded, because float32 has many numbers near 0 and few near 1.
    assert stats.kstest(folded.double().numpy(), lambda x: 2 * stats.beta(0.2, 0.2).cdf(x)).pvalue > 0.01
    assert folded.max() <= 0.5
    assert len(folded.unique()) > 10_000  # one for each sample


def test_the_penalty_of_a_logistic_critic() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 1).double()
    critic = Critic(nn.Flatten(), linear, nn.Flatten(0))
    x = batch_of().x
    w = linear.weight[0]
    p = (x.flatten(1) @ w + linear.bias).sigmoid()
    expected = ((p * (1 - p)).square() * w.square().sum()).mean()
    found = gradient_penalty(critic, x, of_probability=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for a, b in zip(
        torch.autograd.grad(found, list(linear.parameters())),
        torch.autograd.grad(expected, list(linear.parameters())),
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)
    raw = gradient_penalty(critic, x, of_probability=False)
    torch.testing.assert_close(raw, w.square().sum(), rtol=1e-12, atol=0)


def test_the_clean_penalty_is_a_term_of_the_critics_loss() -> None:
    with_it, without = made(penalty=3.0), made()
    a, values = with_it.losses(batch_of())
    b, _ = without.losses(batch_of())
    torch.testing.assert_close(a["critic"], b["critic"] + 3 * values["penalty"], rtol=1e-14, atol=0)
    torch.testing.assert_close(values["critic"], b["critic"], rtol=0, atol=0)
    assert values["penalty"] > 0
    hinged = made(penalty=3.0, loss="hinge")
    expected = gradient_penalty(hinged.critic, batch_of().x, of_probability=False)
    torch.testing.assert_close(hinged.losses(batch_of())[1]["penalty"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("options", [{}, {"mixing": "fr_ff"}, {"mixing": "fr_ff", "places": ("stem",)}])
@pytest.mark.parametrize("form", ["clean", "paper"])
def test_nobodys_gradient_reaches_the_other_player(options: Any, form: Any) -> None:
    method = made(penalty=10.0, form=form, average=0.9, **options)
    assert set(method.players()) == {"generator", "critic"}
    optimisers = make_optimisers(method, 1e-3)
    for player in ("generator", "critic"):
        before = {name: p.clone() for name, p in method.named_parameters()}
        for name, parameters in method.players().items():
            for p in parameters:
                p.requires_grad_(name == player)
        step(method, batch_of(), optimisers, [player])
        moved = {n.partition(".")[0] for n, p in method.named_parameters() if not torch.equal(p, before[n])}
        assert moved - {"average"} == {player}
        assert ("average" in moved) == (player == "generator")
        method.generator.requires_grad_(True)
        method.critic.requires_grad_(True)


@pytest.mark.parametrize("n_dis", [1, 2])
@pytest.mark.parametrize("place", ["pixels", "stem"])
def test_steps_are_those_of_the_published_code(n_dis: int, place: str) -> None:
    """Generator, then critic, then penalty, each with its own forward passes, in the published order."""
    options: Any = {"penalty": 10.0, "form": "paper", "mixing": "fr_ff", "places": (place,)}
    ours, theirs = made(**options), made(**options)
    optimisers = make_optimisers(ours, 2e-4)
    adam = {
        name: torch.optim.Adam(getattr(theirs, name).parameters(), 2e-4, (0.0, 0.999))
        for name in ("generator", "critic")
    }
    until, rest = split_at(theirs.critic, place)
    one = torch.ones((), dtype=torch.float64)
    for i in range(6):
        batch = batch_of(i)
        steps_generator = i % n_dis == 0
        for p in ours.generator.parameters():
            p.requires_grad_(steps_generator)
        step(ours, batch, optimisers, ["generator", "critic"] if steps_generator else ["critic"])

        generator = torch.Generator().manual_seed(i)
        z = torch.empty(B, 3, dtype=torch.float64).normal_(generator=generator)
        lam = draw_shares(B, 0.2, fold=True, device=z.device, generator=generator).double()
        lam = lam.reshape(-1, 1, 1, 1)
        others = torch.randperm(B, generator=generator)
        fake = theirs.generator(z)
        if steps_generator:
            adam["generator"].zero_grad()
            cross_entropy(theirs.critic(fake), one).backward()
            adam["generator"].step()
        adam["critic"].zero_grad()
        fake = fake.detach()
        h_real, h_fake = until(batch.x), until(fake)
        # The published hidden mixes are of the first pair alone.
        pair = (h_real, h_fake) if place == "pixels" else (h_real[:1], h_fake[:1])
        mixes = [lam * pair[0] + (1 - lam) * pair[1], lam * h_fake + (1 - lam) * h_fake[others]]
        loss = cross_entropy(theirs.critic(batch.x), one) + cross_entropy(theirs.critic(fake), 0 * one)
        sum((cross_entropy(rest(m), 0 * one) for m in mixes), loss).backward()
        adam["critic"].step()
        adam["critic"].zero_grad()
        (10 * gradient_penalty(theirs.critic, batch.x, of_probability=True)).backward()
        adam["critic"].step()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")
    clean = made(**options | {"form": "clean"})
    assert len(list(clean.stages(batch_of()))) == 1
    assert len(list(ours.stages(batch_of()))) == 2


def test_the_paper_mixes_the_first_pair_inside_the_critic() -> None:
    clean, paper = (made(mixing="fr", places=("stem",), form=form) for form in ("clean", "paper"))
    h = torch.randn(2 * B, 2, 3, 3, dtype=torch.float64)
    (mixed,), _ = paper._mix(h, "stem", torch.Generator().manual_seed(0))
    lam = draw_shares(B, 0.2, fold=True, device=h.device, generator=torch.Generator().manual_seed(0)).double()
    lam = lam.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(mixed, lam * h[:1] + (1 - lam) * h[B : B + 1], rtol=1e-6, atol=1e-7)
    (other,), _ = clean._mix(h, "stem", torch.Generator().manual_seed(0))
    torch.testing.assert_close(other, lam * h[:B] + (1 - lam) * h[B:], rtol=1e-6, atol=1e-7)
    (pixels,), _ = paper._mix(h, "pixels", torch.Generator().manual_seed(0))
    assert torch.equal(pixels, other)


@pytest.mark.parametrize("spectral", [False, True])
def test_one_pass_is_exact(spectral: bool) -> None:
    network = dataclasses.replace(PLAIN, spectral=spectral)
    one = made(mixing="fr_ff", network=network).eval()
    two = made(mixing="fr_ff", network=network, one_pass=False).eval()
    assert one.one_pass
    assert not two.one_pass
    a, b = one.losses(batch_of())[0], two.losses(batch_of())[0]
    for player in ("generator", "critic"):
        torch.testing.assert_close(a[player], b[player], rtol=1e-12, atol=0)
        gradients = [
            torch.autograd.grad(losses[player], list(getattr(m, player).parameters()), retain_graph=True)
            for m, losses in ((one, a), (two, b))
        ]
        for x, y in zip(*gradients):
            torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("options", [{}, {"one_pass": False}, {"places": ("stem",)}, {"loss": "hinge"}])
def test_the_critic_sees_each_image_once(options: Any) -> None:
    method, seen = made(mixing="fr_ff", **options), []
    method.critic.head.register_forward_hook(lambda m, x, s: seen.append(len(s)))
    method.losses(batch_of())
    assert sum(seen) == 4 * B


def test_places_are_drawn_with_equal_probability_for_each_batch() -> None:
    method = made(mixing="fr", places=("pixels", "stem", "block1"))
    drawn: list[str] = []
    mix = method._mix

    def spy(h: Tensor, place: str, generator: torch.Generator | None) -> Any:
        drawn.append(place)
        return mix(h, place, generator)

    method._mix = spy  # type: ignore[method-assign]
    with torch.no_grad():
        for i in range(150):
            method._judge_mixes(batch_of().x, batch_of().x, batch_of(i))
    counts = [drawn.count(place) for place in method.places]
    assert stats.chisquare(counts).pvalue > 0.01
    assert places_of(method.critic) == ["pixels", "stem", "block1"]


def test_losses_are_finite_where_logits_are_huge() -> None:
    s = torch.tensor([-1e4, 1e4], requires_grad=True)
    for t in (0.0, 0.3, 1.0):
        for loss in (cross_entropy, hinge):
            (gradient,) = torch.autograd.grad(loss(s, t), s)
            assert gradient.isfinite().all()


def test_the_average_follows_the_generator_with_a_warm_up() -> None:
    method = made(average=0.3, penalty=1.0, form="paper")
    optimisers = make_optimisers(method, 1e-2)
    expected = [p.detach().clone() for p in method.generator.parameters()]
    for t in range(4):
        step(method, batch_of(t), optimisers)
        d = min(0.3, (1 + t) / (10 + t))
        expected = [d * a + (1 - d) * p.detach() for a, p in zip(expected, method.generator.parameters())]
    assert method.average is not None
    assert not any(p.requires_grad for p in method.average.parameters())
    for a, b in zip(method.average.parameters(), expected):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
    method.eval()
    z = torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(method.decode(z), method.average(z))
    method.generator.requires_grad_(False)  # as on a batch on which only the critic steps
    before = method.updates.item()
    step(method, batch_of(), optimisers, ["critic"])
    assert method.updates.item() == before


def test_samples_are_decided_by_the_generator_and_change_nothing() -> None:
    method = made().float().train()
    state = {k: v.clone() for k, v in method.state_dict().items()}
    first, again = (method.sample(7, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (7, *SHAPE)
    assert not torch.equal(first, method.sample(7, torch.Generator().manual_seed(2)))
    assert method.training
    assert method.generator.training
    assert all(torch.equal(v, state[k]) for k, v in method.state_dict().items())
    assert isinstance(method, Samples)
    assert isinstance(method, Decodes)
    assert not isinstance(method, Encodes)
    values = method.eval().validate(dataclasses.replace(batch_of(), x=batch_of().x.float()))
    assert {name: len(v) for name, v in values.items()} == {"logit_real": B, "logit_fake": B}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": "fr", "places": ("block7",)}, "the critic has no block7; its places are pixels, stem, b"),
        ({"mixing": "fr", "places": ()}, "places is empty"),
        ({"mixing": "fr", "places": ("head",)}, "no head"),
        ({"mixing": "pixels", "places": ("stem",)}, "mixing=pixels mixes pixels alone"),
        ({"loss": "hinge", "one_pass": True}, "one_pass=true is not exact with loss=hinge"),
        ({"mixing": "fr", "mix_labels": "soft", "one_pass": True}, "mix_labels=soft"),
        ({"mixing": "fr", "places": ("stem",), "one_pass": True}, "places inside the critic"),
    ],
)
def test_what_does_not_fit_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        made(**options)
    assert "\n" not in str(caught.value)


TINY = [
    *("method=gan", "method.network.width=2", "method.d_z=4", "data=digits", "image_size=8", "device=cpu"),
    *("train_size=128", "batch_size=32", "epochs=2", "out=run"),
]
FULL = [
    *("method.penalty=10", "method.form=paper", "method.mixing=fr_ff", "method.places=pixels,stem"),
    *("method.average=0.9", "every.generator=2"),
]


def kill_in(step_number: int | None) -> None:
    """Save after each step, and kill this process in the middle of a step, counted from where it starts."""
    loop.SAVE_EVERY, loop.LOG_EVERY = 0, 3
    take, taken = training_step.step, []

    def take_or_die(method: Any, *args: Any, **kwargs: Any) -> Any:
        stages = method.stages

        def between(batch: Batch) -> Any:
            for i, stage in enumerate(stages(batch)):
                if i == 1 and len(taken) == step_number:
                    os.kill(os.getpid(), signal.SIGKILL)  # between the critic's step and its penalty
                yield stage

        method.stages = between
        result = take(method, *args, **kwargs)
        method.stages = stages
        taken.append(None)
        return result

    training_step.step = take_or_die  # type: ignore[assignment]


def test_a_run_that_is_killed_before_its_penalty_continues_with_the_same_bits(tmp_path: Path) -> None:
    for name, kills in (("whole", [None]), ("killed", [1, 2, 3, None])):
        (tmp_path / name).mkdir()
        for number in kills:
            done = typed("train", *TINY, *FULL, cwd=tmp_path / name, first=functools.partial(kill_in, number))
            assert done.code == (0 if number is None else -signal.SIGKILL), done.err
    whole, killed = (tmp_path / name / "run" for name in ("whole", "killed"))
    assert "continuing at 6" in done.err
    files = [run / "checkpoints" / "last" / checkpoints.WEIGHTS for run in (whole, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    states = [checkpoints.load(run, ("last",)).resume["optimisers"] for run in (whole, killed)]  # type: ignore
    for player in ("generator", "critic"):
        a, b = (state[player]["state"] for state in states)
        assert all(torch.equal(a[i][key], b[i][key]) for i in a for key in a[i])
    assert int(states[0]["critic"]["state"][0]["step"]) == 16  # 8 batches, two steps on each
    assert int(states[0]["generator"]["state"][0]["step"]) == 4
    logs = [[{**r, "seconds": None} for r in runs.read_log(run)] for run in (whole, killed)]
    assert logs[0] == logs[1]
    assert {"fool", "critic", "penalty"} <= set(logs[0][0]["values"])

    grids = [{p.name: p.read_bytes() for p in (run / "samples").iterdir()} for run in (whole, killed)]
    assert sorted(grids[0]) == ["00000004.png", "00000008.png"]
    assert grids[0] == grids[1]
    assert grids[0]["00000004.png"] != grids[0]["00000008.png"]
    figures = {path.name for path in (whole / "figures").iterdir()}
    assert {"samples.png", "latent_walk.png", "samples_over_training.png"} <= figures
    with Image.open(whole / "figures" / "samples_over_training.gif") as gif:
        assert gif.n_frames == 2
    page = (whole / "report.html").read_text()
    assert "Walks between latent vectors" in page
    for words in (("mix", "run", "run/figures/samples.png", "run/figures/samples.png"), ("explore", "run")):
        assert "run was trained by method=gan, which has no encoder; mixing needs" in refusal(
            typed(*words, cwd=tmp_path / "whole")
        )
    _, failures = evaluate(whole, ["probe", "knn"], say=lambda _: None)
    assert set(failures) == {"probe", "knn"}
    assert all("\n" not in str(why) and "gan" in str(why) for why in failures.values())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("every.generator=0", "every"),
        ("method.places=block7 method.mixing=fr", "its places are pixels"),
        ("method.loss=hinge method.one_pass=true", "loss=hinge"),
        ("method.network=conv", "generator"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, word: str, message: str) -> None:
    settings = [w for w in TINY if not (word.startswith("method.network") and "network" in w)]
    error = refusal(typed("train", *settings, *word.split(), cwd=tmp_path))
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_configurations_survive_yaml() -> None:
    run = config.load([*TINY, *FULL])
    assert run.every == {"generator": 2}
    assert run.method["places"] == ["pixels", "stem"]
    assert (run.lr, run.batch_size) == (2e-4, 32)
    assert config.resolve(run.as_dict()) == run
