"""Table 6: every configuration runs, resumes with the same bits, and tells its cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from latentmix import config
from latentmix.config import protocol
from latentmix.data import Data, load
from latentmix.data.sources.digits import Digits
from latentmix.experiments.manifold_mixup import table6
from latentmix.methods import Batch
from latentmix.networks.conv import parameter_count
from latentmix.runs import checkpoints
from latentmix.tables.plan import plan
from latentmix.training import loop
from latentmix.training.device import Runtime
from latentmix.training.step import make_optimisers, step
from operations import hours, operations

CELLS = {cell.name: cell.settings for cell in table6.TABLE.cells if cell.settings is not None}
FULL = {name: settings for name, settings in CELLS.items() if name.startswith("CIFAR-10")}


@pytest.mark.parametrize("name", CELLS)
def test_every_configuration_trains_at_full_width(name: str) -> None:
    run = config.resolve(CELLS[name])
    torch.manual_seed(0)
    shape = (3, run.image_size, run.image_size)
    method = config.build("method", run.method, shape=shape)
    before = {k: v.clone() for k, v in method.named_parameters()}
    x = torch.rand(2, *shape) * 2 - 1
    losses, values = step(
        method, Batch(x, host=torch.Generator().manual_seed(1)), make_optimisers(method, 1e-3)
    )
    assert all(v.isfinite() for v in {**losses, **values}.values())
    assert ("penalty" in values) == ("GP" in name)
    assert all(not torch.equal(p, before[k]) for k, p in method.named_parameters() if k.endswith("weight"))


def test_networks_of_the_full_form_are_the_published_ones() -> None:
    sizes = {}
    for name, settings in FULL.items():
        method = config.build("method", config.resolve(settings).method, shape=(3, 32, 32))
        assert parameter_count(method.generator) == 1_019_779
        sizes[name] = parameter_count(method.critic)
    assert len(sizes) == 14
    for name, size in sizes.items():
        assert size == (1_086_849 if "SN" in name else 1_103_937 if "stem" in name else 1_053_825), name


def test_settings_are_those_of_the_published_code() -> None:
    for name, settings in FULL.items():
        run = config.resolve(settings)
        assert (run.lr, run.batch_size, run.epochs, run.keep_last) == (2e-4, 64, 500, True)
        assert run.every == {"generator": 5 if "SN" in name else 1}
        assert (run.method["d_z"], run.method["alpha"], run.method["fold"]) == (62, 0.2, True)
        assert run.method["penalty"] == (0.5 if "stem" in name else 10 if "GP" in name else 0)
        assert run.method["loss"] == ("hinge" if "hinge" in name else "non_saturating")
        clean = "blocks" in name or "all pairs" in name
        assert run.method["form"] == ("clean" if clean else "paper")
        assert protocol.deviations(run.as_dict()) == ["method.form: clean (paper: paper)"] * clean
        method = config.build("method", run.method, shape=(3, 32, 32))
        assert (method.betas, method.weight_decay) == ((0.0, 0.999), 0.0)
    assert config.metrics(table6.TABLE.metrics)["samples"]["n"] == 50_000


def test_both_forms_compare_the_same_systems() -> None:
    systems = {group: [] for group in ("CIFAR-10", "MNIST", "Fashion-MNIST")}  # type: dict[str, list[str]]
    for name, settings in CELLS.items():
        group, _, system = name.partition(": ")
        systems[group].append(system)
        if group != "CIFAR-10":
            small, full = (config.resolve(s).method for s in (settings, CELLS[f"CIFAR-10: {system}"]))
            assert small["network"].pop("spectral") == full["network"].pop("spectral")
            small, full = (
                {k: v for k, v in m.items() if k not in ("network", "form")} for m in (small, full)
            )
            assert small == full
    assert systems["MNIST"] == systems["Fashion-MNIST"] == systems["CIFAR-10"][:9]
    short = plan(table6.TABLE, "short")
    assert len(short) == 54
    assert {task.images for task in short} == {50_000}  # an epoch


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


@pytest.mark.parametrize("name", FULL)
def test_every_full_configuration_continues_with_the_same_bits(
    tmp_path: Path, few_images: Data, name: str
) -> None:
    """Steps of 4, 4 and 2 images in each of two epochs; stopped after steps 1 and 2."""
    settings: dict[str, Any] = config.resolve(FULL[name]).as_dict()
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
    run, shape = config.resolve(FULL["CIFAR-10: GAN-GP"]), (3, 32, 32)
    plain = dataclasses.replace(run, method=run.method | {"penalty": 0.0})
    # Forward of generator and, for two sets of images, critic; one backward, which is about twice a forward.
    both = operations(plain, shape, 1, 1)
    assert both == pytest.approx(2 * 3 * (generator + 2 * macs), rel=0.02)
    # A step of the critic alone: its forward and backward, and the generator's forward.
    third = operations(dataclasses.replace(plain, every={"generator": 3}), shape, 1, 3)
    assert third == pytest.approx((both + 2 * 2 * (generator + 3 * 2 * macs)) / 3, rel=0.03)


@pytest.mark.parametrize(
    "name",
    [
        "CIFAR-10: GAN-GP, FR in pixels or stem",
        *(name if "hinge, FR+FF" in name else pytest.param(name, marks=pytest.mark.slow) for name in FULL),
    ],
)
def test_a_full_configuration_carries_its_cost(name: str) -> None:
    """500 epochs of the 50,000 images of CIFAR-10; the published runs keep none for validation."""
    (cell,) = [cell for cell in table6.TABLE.cells if cell.name == name]
    estimated = hours(config.resolve(FULL[name]), (3, 32, 32), 500 * 50_000)
    stated = table6.GPU_HOURS[name.removeprefix("CIFAR-10: ")]
    assert stated == pytest.approx(estimated, rel=0.04)  # some draw the place of mixes, at other costs
    assert f"about {stated} GPU hours" in cell.as_published
