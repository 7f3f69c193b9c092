"""Table 6: every configuration runs, resumes with the same bits, and tells its cost."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from latentmix import config
from latentmix.data import Data, load
from latentmix.data.sources.digits import Digits
from latentmix.experiments.manifold_mixup import table6
from latentmix.methods import Batch
from latentmix.networks.conv import parameter_count
from latentmix.runs import checkpoints
from latentmix.training import loop
from latentmix.training.device import Runtime
from latentmix.training.step import make_optimisers, step

CELLS = {**table6.FULL, **{f"short-{name}": cell for name, cell in table6.SHORT.items()}}


@pytest.mark.parametrize("name", CELLS)
def test_every_configuration_trains_at_full_width(name: str) -> None:
    run = config.resolve(CELLS[name][0])
    torch.manual_seed(0)
    shape = (3, run.image_size, run.image_size)
    method = config.build("method", run.method, shape=shape)
    before = {k: v.clone() for k, v in method.named_parameters()}
    x = torch.rand(2, *shape) * 2 - 1
    losses, values = step(
        method, Batch(x, host=torch.Generator().manual_seed(1)), make_optimisers(method, 1e-3)
    )
    assert all(v.isfinite() for v in {**losses, **values}.values())
    assert ("penalty" in values) == ("gp" in name or "hidden" in name)
    assert all(not torch.equal(p, before[k]) for k, p in method.named_parameters() if k.endswith("weight"))


def test_networks_of_the_full_form_are_the_published_ones() -> None:
    sizes = {}
    for name, (settings, _) in table6.FULL.items():
        method = config.build("method", config.resolve(settings).method, shape=(3, 32, 32))
        assert parameter_count(method.generator) == 1_019_779
        sizes[name] = parameter_count(method.critic)
    assert {sizes[n] for n in sizes if n.startswith("gan-gp")} == {1_053_825}
    assert {sizes[n] for n in sizes if n.startswith("hidden")} == {1_103_937}
    assert {sizes[n] for n in sizes if n.startswith(("sn", "blocks"))} == {1_086_849}


def test_settings_and_numbers_are_those_of_the_paper() -> None:
    run = config.resolve(table6.FULL["sn-gan-fr"][0])
    assert (run.lr, run.batch_size, run.epochs, run.every) == (2e-4, 64, 500, {"generator": 5})
    assert (run.method["d_z"], run.method["alpha"], run.method["fold"]) == (62, 0.2, True)
    method = config.build("method", run.method, shape=(3, 32, 32))
    assert (method.betas, method.weight_decay) == ((0.0, 0.999), 0.0)
    numbers = {name: published.get("frechet") for name, (_, published) in table6.FULL.items() if published}
    assert list(numbers.values()) == [30.2, 28.0, 25.6, 21.7, 21.5, 20.6, 22.2, 22.6, 20.7]
    assert list(table6.SHORT) == list(table6.FULL)[:9]
    assert config.metrics(table6.FULL_METRICS)["samples"]["n"] == 50_000


class Silent:
    """Progress that nobody sees."""

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None: ...

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None: ...

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None: ...

    def say(self, text: str) -> None: ...


@pytest.fixture(scope="module")
def few_images() -> Data:
    data = load(Digits(), image_size=32, train_size=10)
    return dataclasses.replace(data, valid=data.valid.take(slice(4)), test=data.test.take(slice(4)))


@pytest.mark.parametrize("name", table6.FULL)
def test_every_full_configuration_continues_with_the_same_bits(
    tmp_path: Path, few_images: Data, name: str
) -> None:
    """Steps of 4, 4 and 2 images in each of two epochs; stopped after steps 1 and 2."""
    settings: dict[str, Any] = copy.deepcopy(table6.FULL[name][0])
    settings["method"]["network"]["width"] = 4
    settings |= {"epochs": 2, "batch_size": 4, "data": "digits", "device": "cpu"}

    def fit(out: str, stop: bool) -> None:
        run = config.resolve({**settings, "out": str(tmp_path / out)})
        loop.Trainer(run, few_images, Runtime("cpu"), Silent()).fit(lambda: stop)

    fit("whole", stop=False)
    for _ in range(2):
        with pytest.raises(loop.Interrupted):
            fit("stopped", stop=True)
    fit("stopped", stop=False)
    weights = [tmp_path / out / "checkpoints" / "last" / checkpoints.WEIGHTS for out in ("whole", "stopped")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_costs() -> None:
    """Of the networks' own convolutions, counted by hand for a plain critic at width 128."""
    macs = 32 * 32 * (27 * 128 + 1152 * 128) + 16 * 16 * 3 * 128  # block 1
    macs += 16 * 16 * 2 * 1152 * 128 + 8 * 8 * 128 * 128  # block 2
    macs += 2 * 8 * 8 * 2 * 1152 * 128 + 128  # blocks 3 and 4, head
    grow = sum(2 * side * side * 1152 * 128 for side in (8, 16, 32))
    generator = 62 * 2048 + grow + 32 * 32 * 1152 * 3
    settings = copy.deepcopy(table6.FULL["gan-gp"][0])
    settings["method"]["penalty"] = 0
    found = table6.operations(settings, 1)
    # Forward of generator and, for two sets of images, critic; one backward, which is about twice a forward.
    assert found == pytest.approx(2 * 3 * (generator + 2 * macs), rel=0.02)
    costs = {name: table6.operations(cell, 1) for name, (cell, _) in table6.FULL.items() if "gp" in name}
    assert found < costs["gan-gp"] < costs["gan-gp-fr"] < costs["gan-gp-fr-ff"]
    assert table6.gpu_hours(table6.FULL["gan-gp"][0]) == pytest.approx(500 * 5e4 * costs["gan-gp"] / 3.6e16)
