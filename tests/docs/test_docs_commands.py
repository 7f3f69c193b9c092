"""Every command of the documentation is accepted: its name, its options, its settings, and what it names.

Nothing is trained. Files and folders that a command names exist, without content.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from cyclopts import CycloptsError
from pages import PAGES, ROOT, commands, lines, name_of, spans, text

from latentmix import config
from latentmix.cli.dispatch import app
from latentmix.config import catalogue
from latentmix.experiments.compare import METHODS, Comparison, lambdas
from latentmix.experiments.reproduce import Request

MINE = "from latentmix.methods.autoencoder import Autoencoder as Mine\n"
FOLDERS = ("DIR", "FOLDER", "PATH", "../my_images", "pets", "CelebA", "ut-zap50k-images-square")
FOREIGN = {"--nproc-per-node", "--logdir"}  # of torchrun and TensorBoard
ALL = {name_of(page): commands(page) for page in PAGES}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the commands read."""
    folder = tmp_path / "here"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        for image in "ab":
            (folder / name / f"{image}.png").write_bytes(b"")
    (folder / "config.yaml").write_text("method: amr\nseed: 1\n")
    (folder / "net.onnx").write_bytes(b"")
    for module in ("mine.py", "my_file.py"):
        (folder / module).write_text(MINE)
    monkeypatch.chdir(folder)
    catalogue.trust([str(folder / "mine.py")])
    return folder


def _training(*settings: str, allow: Sequence[str] = ()) -> None:
    config.load(settings)


def _of_data(data: str, *settings: str, **options: Any) -> None:
    config.load([f"data={data}", *settings])


def _augmentation(data: str, *settings: str, **options: Any) -> None:
    given = config.read([f"data={data}", *settings])
    if "mixer" in given:
        config.make("mixer", given.pop("mixer"))
    config.resolve(given)


def _metrics(run: Path, *metrics: str, **options: Any) -> None:
    config.metrics(metrics)


def _table(name: str = "amr-table1", **options: Any) -> None:
    names = ("scale", "seeds", "only", "data")
    assert Request(name, **{key: options[key] for key in names if key in options}).tasks is not None


def _comparison(*settings: str, methods: Sequence[str] = (), **options: Any) -> None:
    asked = Comparison(settings, methods or METHODS, lambdas=lambdas(options.get("lambdas", ())))
    assert asked.runs


MEANS: dict[str, Callable[..., None]] = {
    "train": _training,
    "inspect": _of_data,
    "augment": _augmentation,
    "evaluate": _metrics,
    "score": _metrics,
    "reproduce": _table,
    "compare": _comparison,
}


@pytest.mark.parametrize("page", [name for name, found in ALL.items() if found])
def test_every_command_is_accepted(page: str, here: Path) -> None:
    refused = []
    for words in ALL[page]:
        app[words[0]]  # there is such a command
        if len(words) == 1:
            continue  # the text speaks of the command
        try:
            _, given, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
            MEANS.get(words[0], lambda *args, **options: None)(*given.args, **given.kwargs)
        except (CycloptsError, ValueError, OSError) as error:
            refused.append(f"latentmix {' '.join(words)}: {error}")
    assert not refused


def test_the_commands_are_found() -> None:
    """The tests above read pages as they are written: inline, indented, with remarks, over two lines."""
    assert ["parts", "data"] in ALL["docs/data.md"]
    assert ["train", "data=FOLDER"] in ALL["README.md"]
    assert ["evaluate", "RUN", "attribute_mixes"] in ALL["docs/methods/amr_classes.md"]
    assert ["reproduce", "amr-table1", "--scale", "short", "--data", "DIR"] in ALL["docs/experiments.md"]
    used = {words[0] for words in chain.from_iterable(ALL.values())}
    assert used >= {name for name in app if not name.startswith("-")} - {"demo"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_belongs_to_a_command(page: Path) -> None:
    known = {
        name
        for command in app
        if not command.startswith("-")
        for argument in app[command].assemble_argument_collection()
        for name in argument.names
    }
    named = re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join((*spans(page), *lines(page))))
    assert set(named) <= known | FOREIGN


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_installed_or_made_exists(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"pip install [^`\n]*(?:latentmix|\.)\[([\w,]+)\]", text(page)):
        assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in (*spans(page), *lines(page)):
        if target := re.match(r"make (\w+)", line):
            assert target[1] in targets, line
        if script := re.match(r"python ([\w/]+\.py)", line):
            assert (ROOT / script[1]).is_file(), line
