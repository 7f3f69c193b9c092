"""Configuration: what is typed and what is written in YAML mean the same; all mistakes are named at once."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import Field

from latentmix import config
from latentmix.config import ConfigError, catalogue
from latentmix.mixing import Bernoulli, Mixup
from latentmix.networks.conv import Conv


def mistakes(*arguments: str) -> list[str]:
    """The lines of the error that settings cause."""
    with pytest.raises(ConfigError) as error:
        config.load(arguments)
    return str(error.value).splitlines()


def test_nothing_typed_is_a_complete_run() -> None:
    run = config.load([])
    assert run.method["name"] == "amr"
    assert run.method["mixer"] == {"name": "mixup", **dataclasses.asdict(Mixup())}
    assert run.method["network"] == {"name": "conv", **dataclasses.asdict(Conv())}
    assert run.data == {"name": "digits"}
    assert run.out == "runs/digits-amr-seed0"


def test_a_resolved_run_resolves_to_itself() -> None:
    for name in catalogue.find("method"):
        run = config.load([f"method={name}", "seed=3"])
        assert config.resolve(run.as_dict()) == run
        assert config.resolve(yaml.safe_load(yaml.safe_dump(run.as_dict()))) == run


def test_the_forms_of_the_readme() -> None:
    run = config.load(
        ["method=amr", "method.mixer=bernoulli", "method.mixer.k=3", "epochs=1", "seed=1", "out=runs/a"]
    )
    assert run.method["mixer"] == {"name": "bernoulli", **dataclasses.asdict(Bernoulli(k=3))}
    assert (run.epochs, run.seed, run.out) == (1, 1, "runs/a")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_the_order_of_a_part_and_its_options_does_not_matter(order: tuple[int, ...]) -> None:
    settings = ["method=amr", "method.mixer=bernoulli", "method.mixer.k=3"]
    assert config.load([settings[i] for i in order]) == config.load(settings)


def test_yaml_and_typed_settings_agree_and_later_ones_win(tmp_path: Path) -> None:
    file = tmp_path / "amr.yaml"
    file.write_text(
        "method:\n  name: amr\n  lamb: 20\n  mixer: {name: bernoulli, k: 3, p: unit}\nepochs: 7\nlr: 1e-3\n"
    )
    typed = [
        "method.lamb=20",
        "method.mixer=bernoulli",
        "method.mixer.k=3",
        "method.mixer.p=unit",
        "epochs=7",
        "lr=1e-3",
    ]
    assert config.load([str(file)]) == config.load(typed)
    assert config.load([str(file), "epochs=2"]).epochs == 2
    assert config.load(["epochs=2", str(file)]).epochs == 7
    assert config.load([str(file), "method.mixer.k=4"]).method["mixer"]["p"] == "unit"
    # Another mixer has other options: those of the file are left behind.
    assert config.load([str(file), "method.mixer=mixup"]).method["mixer"] == {
        "name": "mixup",
        **dataclasses.asdict(Mixup()),
    }


@given(st.integers(1, 10**6), st.floats(1e-8, 1, exclude_min=True), st.integers(0, 2**31 - 1))
def test_numbers_come_back_as_they_were_typed(epochs: int, lr: float, seed: int) -> None:
    run = config.load([f"epochs={epochs}", f"lr={lr!r}", f"seed={seed}"])
    assert (run.epochs, run.lr, run.seed) == (epochs, lr, seed)


def test_every_mistake_is_named_at_once_with_its_path_and_the_nearest_name() -> None:
    lines = mistakes(
        "method=amr",
        "method.mixer=bernouli",
        "method.network.widht=3",
        "method.lamb=much",
        "data=/nowhere/at/all",
        "epochs=2.5",
        "batch_size=five",
        "sed=1",
        "precision=fp8",
    )
    wanted = {
        "method.mixer": "did you mean bernoulli?",
        "method.network.widht": "did you mean width?",
        "method.lamb": "got 'much'",
        "data": "/nowhere/at/all: no such file or folder",
        "epochs": "got 2.5",
        "batch_size": "got 'five'",
        "sed": "did you mean seed?",
        "precision": "'fp32' or 'bf16'",
    }
    assert len(lines) == len(wanted)
    for path, words in wanted.items():
        (line,) = [line for line in lines if line.startswith(f"{path}: ")]
        assert words in line


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("method=amrr", "no method is named 'amrr' (did you mean amr?); there are "),
        ("method=[1, 2]", "no method is named '[1, 2]'"),
        ("data=digit", "no data is named 'digit' (did you mean digits?); there are "),
        ("data=holiday", "or the path of a folder or .npz file"),
        ("data={path: x}", "data.path: unknown option of digits; options are none"),
        ("data={name: folder}", "data.path: missing, and folder needs it"),
        ("method.mixer.k=1", "method.mixer.k=1: a mix needs at least 2 parents"),
        ("method.mixer.k=2.5", "method.mixer.k: Input should be a valid integer"),
        ("method.network.d_h=40", "method.network.d_h=40: must be a multiple of 16"),
        (
            "method={name: vae, network: {name: mlp, depth: 1000000}}",
            "method.network.depth: Input should be less than or equal to 1000; got 1000000",
        ),
        ("out=a\0b", "out: no name of a file can hold a null character"),
        ("start_from=\ud800", "start_from: '\\ud800' cannot be the name of a file"),
        ("epochs=0", "epochs: Input should be greater than or equal to 1; got 0"),
        ("epochs=true", "got 'true'"),
        (
            "batch_size=",
            "batch_size: Input should be a valid integer, unable to parse string as an integer; got ''",
        ),
        ("steps=0", "steps: Input should be greater than or equal to 1; got 0"),
        ("every.critic=0", "every: Input should be greater than or equal to 1; got {'critic': 0}"),
        ("schedule=sine", "schedule: Input should be 'constant', 'cosine', 'linear' or 'step'"),
        ("drops=0.5", "drops: schedule=constant has none; add schedule=step"),
        ("drops=1", "drops: Input should be less than 1; got 1"),
        ("drops=later", "drops: Input should be a valid list; got 'later'"),
        ("probe_lr=0", "probe_lr: Input should be greater than 0"),
        ("method.network=pre_act_res_net", "method.network: pre_act_res_net builds no autoencoder"),
        ("epochs.x=1", "epochs: Input should be a valid integer; got {'x': 1}"),
        ("lr=.nan", "lr: "),
        ("lr=2", "lr: Input should be less than or equal to 1"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("image_size=4", "image_size: Input should be greater than or equal to 8"),
        ("=5", "unknown key; keys are method, data, protocol, image_size"),
        ("mixer=bernoulli", "mixer: unknown key"),
    ],
)
def test_mistakes(setting: str, words: str) -> None:
    (line,) = mistakes(setting)
    assert words in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("epochs: [1", "not readable as YAML"),
        ("just words", "expected keys and values, got 'just words'"),
        ("", "expected keys and values, got nothing"),
        ("1: 2", "1: unknown key"),
        ("method: {1: 2}", "method.1: unknown option of amr"),
        ("method: {name: 7}", "no method is named '7'"),
        ("!!python/object/apply:os.system ['true']", "not readable as YAML"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content)
    (line,) = mistakes(str(file))
    assert words in line


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(
        FileNotFoundError, match=re.escape("amr.yml: no such file; give a YAML file or key=value")
    ):
        config.load(["amr.yml"])


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    (line,) = mistakes(str(tmp_path))
    assert line == f"{tmp_path} is a folder, not a YAML file; if it holds data, write data={tmp_path}"


def test_settings_longer_than_the_name_of_a_file() -> None:
    names = [f"attribute_{i}" for i in range(40)]
    assert config.load([f"attributes={','.join(names)}"]).attributes == names
    long = "x" * 300
    (line,) = mistakes(f"data={long}")
    assert f"no data is named '{'x' * 89}... (302 characters)" in line
    with pytest.raises(FileNotFoundError, match="no such file; give a YAML file or key=value"):
        config.load([long])


@pytest.mark.parametrize("name", ["2026-01-31", "007", "yes", "a b", "null"])
def test_names_of_folders_stay_as_typed(name: str) -> None:
    assert config.load([f"out={name}"]).out == name


def test_a_path_becomes_a_source_by_what_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "mine.npz", images=np.zeros((4, 8, 8), np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    absolute = {"name": "npz", "path": str(tmp_path / "mine.npz")}
    for path in (tmp_path / "mine.npz", "mine.npz", "~/mine.npz"):
        run = config.load([f"data={path}"])
        assert run.data == absolute
        assert run.out == "runs/mine-amr-seed0"


def test_the_path_of_a_source_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("sub/shapes.npz", "~/sub/shapes.npz"):
        run = config.load(["data=dsprites", f"data.path={path}"])
        assert run.data == {
            "name": "dsprites",
            "path": str(tmp_path / "sub" / "shapes.npz"),
            "images": 50_000,
        }
        assert run.out == "runs/shapes-amr-seed0"
    for path in ("~no one/x", "~no one/x.npz"):
        for setting in (f"data={path}", f"data={{name: npz, path: {path}}}"):
            (line,) = mistakes(setting)
            assert "home directory" in line


@pytest.mark.parametrize("version", ["v1", "v2.0"])
def test_a_dot_in_the_name_of_a_folder(tmp_path: Path, version: str) -> None:
    folder = tmp_path / f"faces.{version}"
    folder.mkdir()
    for i in range(3):
        Image.new("L", (8, 8)).save(folder / f"{i}.png")
    assert config.load([f"data={folder}"]).out == f"runs/faces.{version}-amr-seed0"


def test_every_kind_of_part_is_built_from_its_spec() -> None:
    for kind, known in (("mixer", catalogue.find("mixer")), ("network", catalogue.find("network"))):
        for name in known:
            built = config.build(kind, {"name": name})
            spec = {"name": catalogue.name_of(type(built)), **dataclasses.asdict(built)}
            assert spec["name"] == name
            assert config.build(kind, spec) == built


def test_a_part_is_found_without_importing_the_others_of_its_kind() -> None:
    code = "import sys; from latentmix import config; config.load(['data=digits', 'method=vae']); "
    found = "print(*(m for m in sys.modules if m.startswith(('latentmix.methods.', 'latentmix.data.s'))))"
    run = subprocess.run([sys.executable, "-c", code + found], capture_output=True, text=True, check=True)
    assert {"latentmix.methods.vae", "latentmix.data.sources.digits"} <= set(run.stdout.split())
    assert not {"latentmix.methods.vq_vae", "latentmix.data.sources.npz"} & set(run.stdout.split())


def test_difference_names_every_leaf_that_differs() -> None:
    old = {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "only old": 4}
    new = {"a": 1, "b": {"c": 5, "d": {"e": 6}}, "only new": 7}
    assert config.difference(old, new) == [
        "b.c: 2 -> 5",
        "b.d.e: 3 -> 6",
        "only new: None -> 7",
        "only old: 4 -> None",
    ]
    assert config.difference(old, old) == []


def test_metrics_are_named_with_their_options():
    found = config.metrics(["probe", "knn.k=20", "knn", "knn.temperature=0.5", "few_labels.seed=3"], seed=2)
    assert list(found) == ["probe", "knn", "few_labels"]
    assert found["knn"] == {"seed": 2, "k": 20, "temperature": 0.5}
    assert found["few_labels"] == {"seed": 3, "counts": [10, 100, 1000], "draws": 5, "c": 1.0}
    assert set(found["probe"]) == {"seed", "grid"}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("prob", r"no metric is named 'prob' \(did you mean probe\?\); there are attribute_mixes, "),
        (
            "knn.kk=20",
            r"^knn.kk: unknown option of knn \(did you mean k\?\); options are seed, k, temperature",
        ),
        ("knn.k=many", "^knn.k: Input should be a valid integer.*'many'"),
        ("knn.k=true", "^knn.k: .*got 'true'"),
        ("knn.k", "^knn.k: expected METRIC or METRIC.option=value"),
        ("k=20", "^k=20: expected METRIC or METRIC.option=value"),
        ("honesty.path=straight", "^honesty.path: Input should be 'lerp', 'slerp' or 'crossover'"),
    ],
)
def test_mistakes_in_metrics_are_named(argument, message):
    with pytest.raises(config.ConfigError, match=message):
        config.metrics(["probe", argument])
    with pytest.raises(config.ConfigError) as error:
        config.metrics([argument, "lines.family=circles"])
    assert len(str(error.value).splitlines()) == 2


def test_bounds_of_an_option_are_kept_and_checked(monkeypatch):
    module = ModuleType("latentmix.metrics.counting")

    def evaluate(method: object, data: object, *, seed: int, k: Annotated[int, Field(ge=1)] = 5) -> None: ...

    module.evaluate = evaluate
    evaluate.__module__ = module.__name__
    evaluate.__annotations__["k"] = Annotated[int, Field(ge=1)]  # the names here are local, so no text
    monkeypatch.setattr(catalogue, "_modules", lambda kind: iter([module]))
    monkeypatch.setattr(catalogue, "find", catalogue.find.__wrapped__)  # the cache keeps others
    assert config.metrics(["counting.k=1"]) == {"counting": {"seed": 0, "k": 1}}
    with pytest.raises(
        ConfigError, match=r"^counting\.k: Input should be greater than or equal to 1; got 0$"
    ):
        config.metrics(["counting.k=0"])


@pytest.mark.parametrize("name", catalogue.find("metric"))
def test_every_metric_is_configured_as_json_can_keep(name):
    options = config.metrics([name])[name]
    assert json.loads(json.dumps(options)).keys() == options.keys()
