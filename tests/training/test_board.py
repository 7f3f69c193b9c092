"""What TensorBoard is given: numbers, settings and pictures, by torch's own writer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils import tensorboard

from latentmix import config
from latentmix.methods import Method
from latentmix.training.board import flat
from latentmix.training.loop import train
from latentmix.training.samples import LARGE, pictures, walks

SETTINGS = {"data": "digits", "image_size": 16, "train_size": 64, "epochs": 2, "device": "cpu"}


class Mirror(Method):
    """Its codes are the images themselves."""

    code_shape = (1, 4, 4)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        return h


def test_settings_are_spelt_as_they_are_typed() -> None:
    given = {"method": {"name": "amr", "lamb": 10.0, "mixer": {"name": "mixup", "k": 3}}, "lr": 1e-3}
    given |= {"every": {"critic": 2}, "crop": None, "drops": [0.5, 0.75], "keep_last": False}
    assert flat(given) == {
        "method": "amr",
        "method.lamb": 10.0,
        "method.mixer": "mixup",
        "method.mixer.k": 3,
        "lr": 1e-3,
        "every.critic": 2,
        "drops": "[0.5, 0.75]",
        "keep_last": False,
    }


def test_walks_go_from_one_image_to_the_other() -> None:
    x = torch.stack([torch.full((1, 4, 4), level) for level in (-1.0, 1.0, 0.0, 0.5, 0.0)])
    drawn = walks(Mirror(), x)  # the fifth has no partner
    assert drawn is not None
    assert drawn.shape == (8, 36, 1)
    levels = drawn[::4, ::4, 0].tolist()
    assert levels[0] == pytest.approx([0, 0, 42.5, 85, 127.5, 170, 212.5, 255, 255], abs=0.5)
    assert levels[1][0] == levels[1][1] == 128
    assert levels[1][-1] == levels[1][-2] == 191


def test_few_large_pictures_and_no_pictures_of_points() -> None:
    large = Mirror()
    large.code_shape = (1, LARGE + 1, LARGE + 1)
    drawn = walks(large, torch.zeros(8, *large.code_shape))
    assert drawn is not None
    assert drawn.shape == (LARGE + 1, 5 * (LARGE + 1), 1)
    assert walks(Mirror(), torch.zeros(8, 2, 1, 1)) is None
    assert walks(Mirror(), torch.zeros(1, 1, 4, 4)) is None
    assert walks(Method(), torch.zeros(8, 1, 4, 4)) is None


def test_pictures_draw_no_random_numbers_of_the_training(tmp_path: Path) -> None:
    built = config.build("method", {"name": "vae"}, shape=(1, 16, 16)).eval()
    before = torch.get_rng_state()
    drawn = [
        pictures(tmp_path, built, torch.rand(8, 1, 16, 16, generator=torch.Generator()), 3) for _ in range(2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn[0].keys() == {"samples", "mixes"}
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory):
    """A short training's folder, with what the writer of torch was asked to write."""
    asked: list[tuple[str, str]] = []

    class Watched(tensorboard.SummaryWriter):  # as tools do that follow TensorBoard
        def add_scalar(self, tag, *rest, **others):
            asked.append(("scalar", tag))
            return super().add_scalar(tag, *rest, **others)

        def add_image(self, tag, *rest, **others):
            asked.append(("image", tag))
            return super().add_image(tag, *rest, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorboard, "SummaryWriter", Watched)
        out = str(tmp_path_factory.mktemp("board") / "run")
        folder = train(config.resolve({**SETTINGS, "method": "amr", "out": out}))
    return folder, asked


def test_it_goes_through_the_writer_that_other_tools_follow(written) -> None:
    _, asked = written
    assert {("image", "mixes"), ("scalar", "valid/reconstruction"), ("scalar", "train/loss/critic")} <= set(
        asked
    )


def test_tensorboard_reads_pictures_settings_and_numbers(written) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    folder, _ = written
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert not [path for path in folder.iterdir() if path.is_dir() and path.name[0].isdigit()]
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    assert [(e.step, e.width, e.height) for e in events.Images("mixes")] == [(1, 144, 64), (2, 144, 64)]
    told = {}
    for name in ("experiment", "session_start_info"):
        content = events.summary_metadata[f"_hparams_/{name}"].plugin_data.content
        told[name] = plugin_data_pb2.HParamsPluginData.FromString(content)
    settings = told["session_start_info"].session_start_info.hparams
    assert settings["method"].string_value == "amr"
    assert settings["method.lamb"].number_value == 10
    shown = {metric.name.tag for metric in told["experiment"].experiment.metric_infos}
    assert shown <= set(events.Tags()["scalars"])
    assert shown
