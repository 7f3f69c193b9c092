"""The loop: precision, schedule, splits of work between players, what it logs and scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from latentmix import config, runs
from latentmix.evaluate import data_of
from latentmix.methods import Batch
from latentmix.methods.amr import AMR
from latentmix.networks.conv import Conv
from latentmix.train import LOG_EVERY, make_optimisers, step, train

SETTINGS: dict[str, Any] = {
    "data": "digits",
    "image_size": 16,
    "train_size": 160,
    "batch_size": 32,
    "epochs": 2,
    "device": "cpu",
    "method": {"name": "amr", "network": {"width": 4}},
}


class Silent:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.epochs: list[dict[str, float]] = []

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None:
        self.title, self.total = title, steps

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None:
        self.steps.append(done)

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None:
        self.epochs.append(values)

    def say(self, text: str) -> None: ...


def trained(tmp_path: Path, name: str = "run", **changes: Any) -> tuple[Path, Silent]:
    shown = Silent()
    run = config.resolve({**SETTINGS, **changes, "out": str(tmp_path / name)})
    return train(run, shown), shown


def test_a_run_logs_scores_and_keeps_its_weights(tmp_path: Path) -> None:
    folder, shown = trained(tmp_path)
    records = runs.read_log(folder)
    assert shown.total == 10
    assert [r["step"] for r in records] == [5, 5, 10, 10]  # every LOG_EVERY steps and at the end of an epoch
    assert [r["kind"] for r in records] == ["train", "valid"] * 2
    assert records[-1]["images"] == 320
    assert {"loss/autoencoder", "loss/critic", "loss/probe", "fool_mix"} <= set(records[0]["values"])
    assert LOG_EVERY > 5
    scores = runs.read_scores(folder)["online_probe"]
    best = max(r["values"]["probe_accuracy"] for r in records if r["kind"] == "valid")
    assert scores["values"]["online_best_valid_accuracy"] == best
    assert scores["protocol"]["n_train"] == 160
    assert list(folder.glob("events.out.tfevents*"))
    opened = runs.open_run(folder)
    assert not opened.method.training


def test_a_run_sees_the_labels_it_may_see_and_scores_know_all(tmp_path: Path) -> None:
    method = {"name": "amr_labels", "network": {"width": 4}}
    folder, _ = trained(tmp_path, labelled=10, batch_size=4, method=method, epochs=1)
    assert runs.read_config(folder)["labelled"] == 10
    _, weights, _, _ = runs.load_checkpoint(folder)  # type: ignore[misc]
    assert all(tensor.isfinite().all() for tensor in weights.values())  # though most batches had no label
    data = data_of(runs.open_run(folder))
    assert data.train.labels is not None
    assert (data.train.labels >= 0).all()


def test_a_class_method_refuses_images_without_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="amr_classes needs the label of every image; amr_labels takes"):
        trained(tmp_path, labelled=20, method={"name": "amr_classes", "network": {"width": 4}})


def test_a_run_remembers_what_it_held_out(tmp_path: Path) -> None:
    data = {"name": "sprites", "images": 600}
    hold_out = {"shape": 2, "scale": [4, 5]}
    folder, _ = trained(tmp_path, data=data, hold_out=hold_out, method="autoencoder", epochs=1)
    found = data_of(runs.open_run(folder))
    assert found.held_out == {"shape": [2], "scale": [4, 5]}
    assert runs.read_config(folder)["hold_out"] == found.held_out


def test_same_seed_same_bits_other_seed_other_bits(tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder, _ = trained(tmp_path, name, seed=seed, epochs=1)
        weights.append(runs.open_run(folder, checkpoint="last").weights_sha256)
    assert weights[0] == weights[1] != weights[2]


def test_bf16_trains_and_keeps_weights_in_fp32(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, precision="bf16", epochs=1)
    values = runs.read_log(folder)[0]["values"]
    exact, _ = trained(tmp_path, "exact", epochs=1)
    reference = runs.read_log(exact)[0]["values"]
    assert values["reconstruction"] == pytest.approx(reference["reconstruction"], rel=0.05)
    assert values["reconstruction"] != reference["reconstruction"]  # it did compute otherwise
    method = runs.open_run(folder, checkpoint="last").method
    assert {p.dtype for p in method.parameters()} == {torch.float32}


def test_a_player_with_a_period_steps_on_every_nth_batch_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    original = AMR.losses

    def losses(self: AMR, batch: Batch) -> Any:
        players = (self.autoencoder, self.critic)
        seen.append(tuple(next(p.parameters()).requires_grad for p in players))  # type: ignore[arg-type]
        return original(self, batch)

    monkeypatch.setattr(AMR, "losses", losses)
    method = {"name": "amr", "network": {"width": 4}, "every": {"autoencoder": 3}}
    trained(tmp_path, method=method)
    # five batches an epoch, counted anew in each: steps on batches 0 and 3
    assert [autoencoder for autoencoder, _ in seen] == [True, False, False, True, False] * 2
    assert all(critic for _, critic in seen)


def test_step_descends_each_players_own_loss() -> None:
    """With plain gradient descent, one step is minus the gradient, for each player from the same weights."""
    torch.manual_seed(0)
    method = AMR((1, 16, 16), 3, network=Conv(width=4)).double().eval()
    x, y = torch.randn(6, 1, 16, 16, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    batch = Batch(x, y, generator=torch.Generator().manual_seed(0))
    losses, _ = method.losses(batch)
    expected = {}
    for name in method.players():
        parameters = dict(getattr(method, name).named_parameters())
        gradients = torch.autograd.grad(losses[name], list(parameters.values()), retain_graph=True)
        for (key, parameter), gradient in zip(parameters.items(), gradients):
            expected[f"{name}.{key}"] = parameter.detach() - 0.1 * gradient
    descent = {n: torch.optim.SGD(getattr(method, n).parameters(), 0.1) for n in method.players()}
    step(method, dataclasses.replace(batch, generator=torch.Generator().manual_seed(0)), descent)
    for key, parameter in method.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[key], rtol=1e-12, atol=1e-14)


def test_optimisers_are_those_of_the_paper() -> None:
    optimisers = make_optimisers(AMR((1, 16, 16), 10, network=Conv(width=4)), 1e-4)
    assert set(optimisers) == {"autoencoder", "critic", "probe"}
    for optimiser in optimisers.values():
        group = optimiser.param_groups[0]
        assert isinstance(optimiser, torch.optim.Adam)
        assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-4, (0.5, 0.99), 1e-5)


def test_more_epochs_continue_a_finished_run(tmp_path: Path) -> None:
    longer, _ = trained(tmp_path, "longer", epochs=2)
    trained(tmp_path, "grown", epochs=1)
    grown, _ = trained(tmp_path, "grown", epochs=2)
    a, b = (runs.open_run(folder, checkpoint="last").weights_sha256 for folder in (longer, grown))
    assert a == b


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, epochs=1)
    before = (folder / "checkpoints" / "last" / runs.WEIGHTS).stat().st_mtime_ns
    _, shown = trained(tmp_path, epochs=1)
    assert shown.steps == []
    assert (folder / "checkpoints" / "last" / runs.WEIGHTS).stat().st_mtime_ns == before


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size=200 is larger than the training set of 160 images"):
        trained(tmp_path, batch_size=200)
    assert not (tmp_path / "run").exists()


def test_k_larger_than_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"k=40 parents .* batch_size=32"):
        trained(tmp_path, method={"name": "amr", "mixer": {"name": "mixup", "k": 40}})
