"""Steps as CUDA graphs: which methods can be recorded, and that a replayed step has the same bits.

On a processor the graphs are those of `graph_stand_in`, on a GPU also the real ones.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from graph_stand_in import stand_in
from torch import Tensor, nn

from latentmix import config
from latentmix.config import catalogue
from latentmix.methods import Batch, Method
from latentmix.methods.amr import AMR
from latentmix.mixing import Mix, Mixup
from latentmix.networks.conv import Conv
from latentmix.training import captured
from latentmix.training.captured import Captured, can_be_captured
from latentmix.training.device import Runtime
from latentmix.training.loop import Silent, Trainer, load

SHAPE = (1, 32, 32)
CAPTURABLE = [name for name, entry in catalogue.find("method").items() if entry.make.capturable]
WITHOUT = {
    "vq_vae",
    "gan",
    "classifier",
    "semi_supervised",
    "factor_mixing",
    "hidden_decoder",
    "amr_pretrained",
}


def test_every_method_is_judged() -> None:
    assert set(CAPTURABLE) | WITHOUT == set(catalogue.find("method"))
    assert not set(CAPTURABLE) & WITHOUT


@pytest.mark.parametrize("name", CAPTURABLE)
def test_a_step_that_can_be_recorded_never_waits_for_a_number(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the meta device tensors have no values: whoever asks for one, or draws on the host, fails."""
    monkeypatch.setattr(torch, "autocast", lambda *a, **k: contextlib.nullcontext())  # knows no meta device
    spec = config.resolve({"method": name}).method
    method: Method = config.build("method", spec, shape=SHAPE, num_classes=4, num_attributes=2, start=None)
    assert can_be_captured(method)
    method = method.to("meta").train()
    x = torch.empty(6, *SHAPE, device="meta")
    y, attributes = torch.empty(6, dtype=torch.long, device="meta"), torch.empty(6, 2, device="meta")
    host: Any = captured._NoGenerator()
    players = method.players()
    for losses, values in method.stages(Batch(x, y, attributes, host=host)):
        for player, loss in losses.items():
            torch.autograd.grad(loss, players[player], retain_graph=True)
        rates = method.rates(values, 0.0)
        assert all(rate.is_meta for rate in rates.values() if isinstance(rate, Tensor))


class Strange:
    """A mixer from elsewhere, which might draw with NumPy."""

    k = 2

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        return Mixup()(h, generator)


def test_what_is_not_ours_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Conv(width=4)
    assert can_be_captured(AMR(SHAPE, network=small))
    assert not can_be_captured(AMR(SHAPE, network=small, mixer=Strange()))
    odd = AMR(SHAPE, network=small)
    odd.critic.append(type("Odd", (nn.Identity,), {"__module__": "elsewhere"})())  # type: ignore[operator]
    assert not can_be_captured(odd)
    monkeypatch.setenv("LATENTMIX_FAST", "0")
    assert not can_be_captured(AMR(SHAPE, network=small))


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CASES: dict[str, dict[str, Any]] = {name: {"method": name} for name in CAPTURABLE}
CASES |= {
    "bernoulli of three": {"method": {"name": "amr", "mixer": {"name": "bernoulli", "k": 3}}},
    "bf16": {"method": "amr", "precision": "bf16"},
    "published": {"method": "ae_gan", "protocol": "paper"},
    "some players skip": {"method": "amr", "every": {"autoencoder": 3}},
    "schedule": {"method": "amr", "schedule": "cosine"},
}
SMALL = {"name": "conv", "width": 4}
CRITIC_MIXES = {"name": "amr", "critic_mixes": "fr", "network": SMALL}  # these draw on the host


def made(folder: Path, settings: dict[str, Any], say: Any = print) -> Trainer:
    common = {"data": "digits", "image_size": 32, "batch_size": 64, "epochs": 9, "device": "cuda"}
    run = config.resolve({**common, **settings, "out": str(folder)})
    runtime = Runtime(run.device, run.precision)
    trainer = Trainer(run, load(run, runtime), runtime, Silent())
    trainer.method.train()
    if run.device == "cpu":
        assert can_be_captured(trainer.method)
    if trainer.captured is None:
        trainer.captured = Captured(say)
    return trainer


def trained(folder: Path, settings: dict[str, Any], steps: int) -> tuple[Trainer, dict[str, Tensor]]:
    trainer = made(folder, settings)
    for number in range(steps):
        trainer.step(number, number)
    return trainer, {name: value.clone() for name, value in trainer.record.sums.items()}


def assert_the_same_bits(folder: Path, patch: pytest.MonkeyPatch, settings: Any, steps: int) -> None:
    replayed, sums = trained(folder / "replayed", settings, steps)
    assert replayed.captured is not None
    assert replayed.captured.graphs
    with patch.context() as inner:
        inner.setattr(captured, "WARM", 99)
        plain, expected = trained(folder / "plain", settings, steps)
    assert plain.captured is not None
    assert not plain.captured.graphs
    found = replayed.method.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.method.state_dict().items())
    assert all(torch.equal(sums[name], value) for name, value in expected.items())
    assert torch.equal(replayed.generator.get_state(), plain.generator.get_state())
    groups = [g for o in replayed.optimisers.values() for g in o.param_groups]
    assert all(isinstance(g["lr"], float) and not g["capturable"] for g in groups)  # as checkpoints want them


@needs_gpu
@pytest.mark.parametrize("case", CASES)
def test_a_replayed_step_has_the_bits_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    assert_the_same_bits(tmp_path, monkeypatch, CASES[case], 10)


@pytest.mark.parametrize("case", CASES)
def test_operations_that_are_taken_again_have_the_bits_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    stand_in(monkeypatch)
    size = 32 if case == "gaia" else 16
    settings = {"device": "cpu", "batch_size": 4, "image_size": size, **CASES[case]}
    assert_the_same_bits(tmp_path, monkeypatch, settings, 10 if "every" in settings else 5)


@needs_gpu
def test_a_step_that_draws_on_the_host_is_taken_as_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    trainer, _ = trained(tmp_path, {"method": {"name": "amr", "critic_mixes": "fr"}}, 1)
    trainer.captured = Captured(said.append)
    for number in range(1, 8):
        trainer.step(number, number)
    assert not trainer.captured.graphs
    assert len(said) == 1
    assert said[0].startswith("the training step is not recorded as a CUDA graph")


def assert_goes_on_after_a_failure(trainers: list[Trainer], said: list[str]) -> None:
    """The last of these runs draws on the host; the others are recorded, alone and then with it in vain."""
    taken = Captured(said.append)
    for number in range(10):
        chosen = trainers if number >= 5 else trainers[:-1]
        for trainer, (losses, values) in zip(chosen, taken([t.part(number, number) for t in chosen])):
            trainer.count(number, losses, values)
        assert len(taken.graphs) == (number in (3, 4, 5, 6, 7))
    assert len(said) == 1
    assert "_NoGenerator" in said[0]  # what was wrong, and not that the recording could not be ended


@needs_gpu
def test_runs_go_on_after_a_recording_that_failed(tmp_path: Path) -> None:
    said: list[str] = []
    settings = [{"method": {"name": "amr", "network": SMALL}}, {"method": CRITIC_MIXES}]
    assert_goes_on_after_a_failure([made(tmp_path / str(i), s) for i, s in enumerate(settings)], said)


def test_a_recording_that_failed_leaves_stream_and_generators_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = stand_in(monkeypatch)
    stream, said = device.stream, list[str]()
    common = {"device": "cpu", "batch_size": 8, "image_size": 16}
    settings = [{"method": {"name": "amr", "network": SMALL}}, {"method": CRITIC_MIXES}]
    assert_goes_on_after_a_failure(
        [made(tmp_path / str(i), {**common, **s}) for i, s in enumerate(settings)], said
    )
    assert device.stream is stream
    assert not device.stuck
