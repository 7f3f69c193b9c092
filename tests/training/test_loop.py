"""The loop: precision, schedule, splits of work between players, what it logs and scores."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from latentmix import config, runs
from latentmix.config import catalogue
from latentmix.methods import Batch
from latentmix.methods.amr import AMR
from latentmix.methods.autoencoder import Autoencoder
from latentmix.networks import EncoderDecoder
from latentmix.networks.conv import Conv
from latentmix.runs import checkpoints
from latentmix.scoring import data_of
from latentmix.training import device as runtime
from latentmix.training.loop import LOG_EVERY, train
from latentmix.training.step import make_optimisers, step

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
        self.said: list[str] = []

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None:
        self.title, self.total = title, steps

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None:
        self.steps.append(done)

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None:
        self.epochs.append(values)

    def say(self, text: str) -> None:
        if not text.startswith("  "):  # what was found in the data
            self.said.append(text)


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
    scores = runs.read_scores(folder)["training"]
    best = max(r["values"]["probe_accuracy"] for r in records if r["kind"] == "valid")
    assert scores["values"]["valid_probe_accuracy"] == best
    assert scores["protocol"]["n_train"] == 160
    assert list(folder.glob("events.out.tfevents*"))
    opened = runs.open_run(folder)
    assert not opened.method.training


def test_a_run_sees_the_labels_it_may_see_and_scores_know_all(tmp_path: Path) -> None:
    method = {"name": "amr_labels", "network": {"width": 4}}
    folder, _ = trained(tmp_path, labelled=10, batch_size=4, method=method, epochs=1)
    assert runs.read_config(folder)["labelled"] == 10
    weights = checkpoints.load(folder).weights  # type: ignore[union-attr]
    assert all(tensor.isfinite().all() for tensor in weights.values())  # though most batches had no label
    data = data_of(runs.open_run(folder))
    assert data.train.labels is not None
    assert (data.train.labels >= 0).all()


def test_a_class_method_refuses_images_without_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="amr_classes needs the label of every image; amr_labels takes"):
        trained(tmp_path, labelled=20, method={"name": "amr_classes", "network": {"width": 4}})
    assert not (tmp_path / "run").exists()


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


@pytest.mark.parametrize("mixer", catalogue.find("mixer"))
def test_weights_stay_finite_in_bf16_with_every_mixer(mixer: str) -> None:
    spec = {"name": "amr", "mixer": mixer, "network": {"name": "conv", "width": 4}}
    torch.manual_seed(0)
    method = config.build("method", config.resolve({"method": spec}).method, shape=(1, 16, 16), num_classes=3)
    optimisers, generator = make_optimisers(method, 1e-3), torch.Generator().manual_seed(0)
    for _ in range(8):
        batch = Batch(torch.rand(32, 1, 16, 16) * 2 - 1, torch.arange(32) % 3, None, generator)
        step(method, batch, optimisers, autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    assert all(p.isfinite().all() for p in method.parameters())


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
    trained(tmp_path, every={"autoencoder": 3})
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


class Transposed(torch.nn.Module):
    """A dense layer by einsum: the gradient of its weight comes transposed in memory."""

    def __init__(self, c_in: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.weight = torch.nn.Parameter(torch.randn(shape[0], c_in) * 0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,ji->bj", x.flatten(1), self.weight).reshape(-1, *self.shape)


def test_a_weight_that_enters_by_einsum_is_trained_as_by_plain_adam() -> None:
    x, weights = torch.randn(8, 6, 1, 1), []
    for fused in (True, False):
        torch.manual_seed(0)
        method = Autoencoder((6, 1, 1), network=Tied())
        optimisers = make_optimisers(method, 1e-2)
        if not fused:
            groups = optimisers["autoencoder"].param_groups[0]
            plain = torch.optim.Adam(groups["params"], 1e-2, method.betas, weight_decay=method.weight_decay)
            plain.param_groups[0]["initial_lr"] = 1e-2
            optimisers = {"autoencoder": plain}
        for i in range(5):
            step(method, Batch(x * (i + 1)), optimisers)
        weights.append([p.detach() for p in method.parameters()])
    for ours, expected in zip(*weights):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


class Tied:
    """A network of two such layers."""

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        return EncoderDecoder(Transposed(6, (4,)), Transposed(4, (6, 1, 1)), (4,))

    def critic(self, shape: tuple[int, int, int]) -> torch.nn.Module:
        return Transposed(6, (1,))


def test_optimisers_are_those_of_the_paper() -> None:
    optimisers = make_optimisers(AMR((1, 16, 16), 10, network=Conv(width=4)), 1e-4)
    assert set(optimisers) == {"autoencoder", "critic", "probe"}
    for optimiser in optimisers.values():
        group = optimiser.param_groups[0]
        assert isinstance(optimiser, torch.optim.Adam)
        assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-4, (0.5, 0.99), 1e-5)


def test_a_run_may_set_betas_and_weight_decay(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, betas="0.9,0.999", weight_decay="0", epochs=1)
    state = checkpoints.load(folder)[3]["optimisers"]  # type: ignore[index]
    for player in ("autoencoder", "critic"):
        (group,) = state[player]["param_groups"]
        assert (list(group["betas"]), group["weight_decay"]) == ([0.9, 0.999], 0.0)
    with pytest.raises(ValueError, match="betas: SGD, the optimiser of network, has no such setting"):
        trained(tmp_path, "sgd", method="classifier", betas="0.9,0.999", epochs=1)


def test_more_epochs_continue_a_finished_run(tmp_path: Path) -> None:
    longer, _ = trained(tmp_path, "longer", epochs=2)
    trained(tmp_path, "grown", epochs=1)
    grown, _ = trained(tmp_path, "grown", epochs=2)
    a, b = (runs.open_run(folder, checkpoint="last").weights_sha256 for folder in (longer, grown))
    assert a == b


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, epochs=1)
    before = (folder / "checkpoints" / "last" / checkpoints.WEIGHTS).stat().st_mtime_ns
    _, shown = trained(tmp_path, epochs=1)
    assert shown.steps == []
    assert (folder / "checkpoints" / "last" / checkpoints.WEIGHTS).stat().st_mtime_ns == before


def as_if_trained_on_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the last checkpoint as a GPU would have: its tensors lie there, its generators are another's."""
    name, weights, description, resume, _ = checkpoints.load(folder)  # type: ignore[misc]
    state = torch.zeros(16, dtype=torch.uint8)
    other = {**resume, "device": "cuda", "generator": state, "cuda": [state] * 3}  # type: ignore[dict-item]
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        checkpoints.save(folder, name, weights, description, other)


def test_a_run_may_go_on_on_another_device_and_says_that_it_is_not_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for name in ("a", "b"):
        folder, _ = trained(tmp_path, name, epochs=1)
        as_if_trained_on_a_gpu(folder, monkeypatch)
        _, shown = trained(tmp_path, name, epochs=2)
        line, *_ = shown.said
        assert "was trained on cuda so far: on cpu it continues with other random numbers" in line
        assert [r["step"] for r in runs.read_log(folder)] == [5, 5, 10, 10]
        ends.append(runs.open_run(folder, checkpoint="last").weights_sha256)
    assert ends[0] == ends[1]  # from seed and step alone
    exact, _ = trained(tmp_path, "exact", epochs=2)
    assert runs.open_run(exact, checkpoint="last").weights_sha256 != ends[0]


def test_a_run_of_another_device_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = trained(tmp_path, epochs=1)
    as_if_trained_on_a_gpu(folder, monkeypatch)
    shutil.rmtree(folder / "checkpoints" / "best")
    assert runs.open_run(folder).checkpoint == "last"


def test_another_number_of_threads_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path, epochs=1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    _, shown = trained(tmp_path, epochs=2)
    line, *_ = shown.said  # a warning follows: so short a training learns nothing
    assert "was trained with threads=1 so far: with 7 it continues as well" in line


def test_nobody_else_can_train_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def take(*args: Any, **kwargs: Any) -> Any:
        taken.append(None)
        with pytest.raises(runs.RunError, match="is being trained by another process"):
            train(config.resolve({**SETTINGS, "out": str(tmp_path / "run")}), Silent())
        return step(*args, **kwargs)

    monkeypatch.setattr("latentmix.training.step.step", take)
    trained(tmp_path, epochs=2)
    assert len(taken) == 10


def test_a_lost_log_costs_the_online_score_and_nothing_else(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, epochs=1)
    (folder / "log.jsonl").unlink()
    (folder / "scores.json").unlink()
    _, shown = trained(tmp_path, epochs=2)
    assert "log.jsonl lacks records from before step 5" in shown.said[0]
    assert [r["step"] for r in runs.read_log(folder)] == [10, 10]
    assert runs.read_scores(folder) == {}  # the best of the epochs that are left would be another number
    whole, _ = trained(tmp_path, "whole", epochs=2)
    a, b = (runs.open_run(run, checkpoint="last").weights_sha256 for run in (folder, whole))
    assert a == b


def test_gpus_are_asked_to_repeat_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is put back
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [(matmul, "allow_tf32", matmul.allow_tf32)]
    before += [(cudnn, name, getattr(cudnn, name)) for name in ("allow_tf32", "deterministic", "benchmark")]
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = True
        runtime.repeat_on_gpus("bf16")
        assert runtime.gpu_settings() == {
            "deterministic_algorithms": True,
            "cudnn_deterministic": True,
            "cudnn_benchmark": False,
            "cudnn_tf32": True,
            "matmul_tf32": True,
            "cublas_workspace": ":4096:8",
        }
        runtime.repeat_on_gpus("fp32")
        settings = runtime.gpu_settings()
        assert (settings["cudnn_tf32"], settings["matmul_tf32"]) == (False, False)
    finally:
        torch.use_deterministic_algorithms(False)
        for owner, name, value in before:
            setattr(owner, name, value)


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size=200 is larger than the training set of 160 images"):
        trained(tmp_path, batch_size=200)
    assert not (tmp_path / "run").exists()


def test_k_larger_than_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"k=40 parents .* 32 images: raise batch_size=32"):
        trained(tmp_path, method={"name": "amr", "mixer": {"name": "mixup", "k": 40}})
