"""Settings as they are typed: words stay words, numbers are read in one way, YAML has limits."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import Field

from latentmix import config
from latentmix.config.reading import Word, parse, read_value, read_word, shorten


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "2024", "2024"),
        (str, "no", "no"),
        (str, "photos #2", "photos #2"),
        (str, "2026-01-31", "2026-01-31"),
        (str, "a: b", "a: b"),
        (str, "[x]", "[x]"),
        (str, "", ""),
        (str, "null", "null"),
        (str | None, "2024", "2024"),
        (str | None, "null", None),
        (int, "010", 10),
        (int, "+7", 7),
        (int, "1:00", "1:00"),
        (int, "0x10", "0x10"),
        (int, "1_000", "1_000"),
        (int, "2.9", 2.9),
        (float, "1e-3", 0.001),
        (float, ".5", 0.5),
        (float, "5.", 5.0),
        (float, "1e3", 1000.0),
        (float, "010", 10),
        (float, "much", "much"),
        (bool, "yes", True),
        (bool, "False", False),
        (bool, "1", "1"),
        (int | None, "~", None),
        (Literal["fp32", "bf16"], "fp32", "fp32"),
        (float | Literal["unit"], "unit", "unit"),
        (float | Literal["unit"], "0.5", 0.5),
        (list[int], "[3,4, 05]", [3, 4, 5]),
        (list[int], "3", 3),
        (list[str], "[2024, no, 'a, b']", ["2024", "no", "a, b"]),
        (list[str], "a,2024", ["a", "2024"]),
        (tuple[int, ...], "1,2", [1, 2]),
        (dict[str, int], "{a: 010, 2024: 7}", {"a": 10, "2024": 7}),
        (Annotated[int, Field(ge=1)] | None, "5", 5),
    ],
)
def test_words(annotation: Any, text: str, value: Any) -> None:
    found = read_word(annotation, text)
    assert found == value
    assert type(found) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**30), 10**30))
def test_numbers_come_back(number: float, whole: int) -> None:
    assert read_word(float, repr(number)) == number
    assert read_word(int, str(whole)) == whole


def test_not_finite_numbers_are_refused() -> None:
    for text in ("nan", ".nan", "inf", "-.inf"):
        assert not math.isfinite(read_word(float, text))
        with pytest.raises(
            config.ConfigError, match=r"method\.lamb: Input should be a finite number; got -?(nan|inf)"
        ):
            config.load([f"method.lamb={text}"])


def test_yaml_keeps_words_and_quotes(tmp_path: Path) -> None:
    assert parse("a: 010\nb: '010'\nc: [no, 1:00]\nd: {2024: x}\ne:\n") == {
        "a": "010",
        "b": "010",
        "c": ["no", "1:00"],
        "d": {"2024": "x"},
        "e": "",
    }
    plain, quoted = (parse(text) for text in ("no", "'no'"))
    assert isinstance(plain, Word)
    assert not isinstance(quoted, Word)
    assert read_value(bool, plain) is False
    assert read_value(bool, quoted) == "no"


# YAML's own writer does not bring these three line breaks back.
TEXT = st.text(st.characters(exclude_characters="\x85\u2028\u2029"), max_size=8)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), TEXT),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
        max_leaves=8,
    )
)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    """Text comes back as text, whatever it looks like; other values as words that mean them."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, dict):
            return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
        if isinstance(a, list):
            return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
        return read_word(type(a) if a is not None else int | None, b) == a if isinstance(b, Word) else a == b

    assert same(value, parse(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: &a {x: *a}", "aliases .* are not supported"),
        (BOMB, "aliases .* are not supported"),
        ("method: " + "[" * 3000 + "]" * 3000, "nested deeper than 20 levels"),
        ("method: " + "{a: " * 3000 + "}" * 3000, "nested deeper than 20 levels"),
        ("seed: 1\nseed: 2", "the key seed occurs twice"),
        ("a: !!python/object/apply:os.system ['true']", r"tags .* are not supported"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("? [a]\n: b", "a key is not plain text"),
        ("a: [1", "not readable as YAML"),
        ("x" * 2_000_000, "longer than 1,048,576 bytes"),
        ("- a\n- b", "expected keys and values, got a list"),
    ],
)
def test_yaml_that_is_refused_at_once(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    start = time.perf_counter()
    with pytest.raises(config.ConfigError, match=message) as error:
        config.load([str(file)])
    assert time.perf_counter() - start < 5
    assert str(file) in str(error.value)
    assert len(str(error.value)) < 600


def test_another_encoding_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes("out: café".encode("latin-1"))
    with pytest.raises(config.ConfigError, match=r"run\.yaml: not UTF-8, from byte 8 on"):
        config.load([str(tmp_path / "run.yaml")])
    (tmp_path / "run.yaml").write_bytes("seed: 3".encode("utf-8-sig"))
    assert config.load([str(tmp_path / "run.yaml")]).seed == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on Unix")
def test_a_pipe_is_read_as_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("seed: 5"))
    writer.start()
    assert config.load([str(pipe)]).seed == 5
    writer.join()


@pytest.mark.parametrize("name", ["2024", "no", "photos #2", "1e3", "2026-01-31", "{odd}", "null"])
def test_folders_are_found_by_the_name_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "photos").mkdir(exist_ok=True)
    for i in range(4):
        Image.new("L", (8, 8), i).save(tmp_path / name / f"{i}.png")
        Image.new("L", (8, 8), i).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    assert config.load([f"data={name}"]).data["path"] == str(tmp_path / name)
    (tmp_path / "run.yaml").write_text(
        f"data: {name}\n" if name not in ("photos #2", "{odd}") else f"data: '{name}'\n"
    )
    assert config.load(["run.yaml"]).data["path"] == str(tmp_path / name)


def test_columns_are_named_by_words_too(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": [b""], "2024": [1]}), tmp_path / "train.parquet")
    for settings in (
        [f"data={tmp_path}", "data.label_column=2024"],
        [f"data={{name: parquet, path: {tmp_path}, label_column: 2024}}"],
    ):
        assert config.load(settings).data["label_column"] == "2024"
    assert config.load([f"data={tmp_path}", "data.label_column=null"]).data["label_column"] is None


def test_what_is_resolved_is_plain_text() -> None:
    run = config.load(
        ["method=amr", "method.mixer=bernoulli", "hold_out.shape=2", "hold_out.scale=[3,4]", "out=x"]
    )
    assert yaml.safe_load(yaml.safe_dump(run.as_dict())) == run.as_dict()
    assert run.hold_out == {"shape": [2], "scale": [3, 4]}


def test_nothing_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", images=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(config.ConfigError, match="no data is named ''"):
        config.load(["data="])


def test_a_folder_called_as_a_built_in_set_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.warns(
        UserWarning, match=r"data=digits is the built-in set; data=\./digits is what lies here"
    ):
        assert config.load(["data=digits"]).data == {"name": "digits"}


def test_long_values_are_shortened() -> None:
    assert shorten("a" * 50) == repr("a" * 50)
    assert len(shorten("a" * 5000)) < 130
    assert shorten("a" * 5000).endswith("... (5,002 characters)")
    with pytest.raises(config.ConfigError) as error:
        config.load(["epochs=" + "x" * 100_000])
    assert len(str(error.value)) < 400
