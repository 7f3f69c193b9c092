"""Codes of any origin are scored as a run's codes are, and what is wrong with a file is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import latentmix as lm
import terminal
from latentmix.apps.score import read
from latentmix.metrics.rank import effective_rank, lidar
from latentmix.reports.numbers import about


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Codes of three classes far apart, with two factors, in pairs of views."""
    rng = np.random.default_rng(0)
    image = np.arange(240) // 2
    factors = np.stack([image % 3, image // 3 % 4], 1)
    codes = rng.normal(size=(240, 5)) + 9 * np.eye(5)[factors[:, 0]] + 4 * factors[:, 1:] * np.eye(5)[4]
    return {"codes": codes, "labels": factors[:, 0], "factors": factors, "pairs": image}


def test_each_kind_of_score_is_there_and_right(arrays: dict[str, np.ndarray]) -> None:
    asked = ["probe", "knn.k=5", "few_labels", "clusters", "spread", "rank", "disentanglement.fast=true"]
    found = lm.score(**arrays, metrics=asked).numbers
    assert list(found) == [*asked, "lidar"]
    assert found["probe"]["offline_accuracy"] == found["knn.k=5"]["knn_accuracy"] == 1
    codes, pairs = torch.from_numpy(arrays["codes"]), torch.from_numpy(arrays["pairs"])
    assert found["rank"]["rank"] == pytest.approx(effective_rank(codes), rel=1e-5)
    assert found["lidar"]["lidar"] == pytest.approx(lidar(codes, pairs))
    assert found["disentanglement.fast=true"]["discrete_mig_fast"] > 0.2  # type: ignore[operator]


def test_classes_may_be_a_column_of_a_data_frame_or_one_hot(arrays: dict[str, np.ndarray]) -> None:
    h, y = arrays["codes"], arrays["labels"]
    expected = lm.score(h, y, metrics="knn")["knn"]["values"]
    text = np.array([f"class {label}" for label in y], dtype=object)
    for labels in (text, np.eye(int(y.max()) + 1)[y], y.astype(object)):
        assert lm.score(h, labels, metrics="knn")["knn"]["values"] == expected


def test_codes_without_labels_get_what_needs_none(arrays: dict[str, np.ndarray]) -> None:
    assert list(lm.score(arrays["codes"])) == ["rank"]
    words = np.array(["a", "b", "c"])[arrays["labels"]]
    first, second = (
        lm.score(arrays["codes"], y, metrics="knn.k=5").numbers for y in (arrays["labels"], words)
    )
    tensor = torch.from_numpy(arrays["codes"]).requires_grad_()
    assert lm.score(tensor, torch.from_numpy(arrays["labels"]), metrics="knn.k=5").numbers == first
    constant = np.concatenate([arrays["codes"], np.full((240, 1), 0.1)], 1)  # no 32-bit number is 0.1
    assert list(lm.score(constant)) == ["rank"]
    assert first == second
    signs = np.where(arrays["labels"] == 0, -1, 1)  # two classes, as of a support-vector machine
    assert lm.score(arrays["codes"], signs, metrics="knn.k=5").numbers["knn.k=5"]["knn_accuracy"] == 1
    with pytest.raises(ValueError, match=r"frechet: it needs more than codes; what these suffice for: rank$"):
        lm.score(arrays["codes"], metrics="frechet")


def test_one_impossible_metric_does_not_stop_the_others(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    h, alone = arrays["codes"], np.arange(240)  # no two codes are views of one image
    with pytest.warns(UserWarning, match="frechet: it needs more than codes") as said:
        found = lm.score(h, pairs=alone, metrics=["frechet", "rank", "knn.k=7"])
    assert list(found) == ["rank"]
    reasons = str(said[0].message).splitlines()
    assert [line.partition(":")[0] for line in reasons] == ["frechet", "knn.k=7", "lidar"]
    assert "two groups or more" in reasons[2]
    with pytest.warns(UserWarning, match="at least two factors that vary"):
        found = lm.score(h, factors=np.zeros((240, 2)), metrics=["disentanglement.fast=true", "rank"])
    assert list(found) == ["rank"]
    np.savez(tmp_path / "codes.npz", codes=h)
    done = terminal.typed("score", "codes.npz", "frechet", "rank", "--out", "a/b.json", cwd=tmp_path)
    assert done.code == 0
    assert "frechet: it needs more than codes" in done.err
    assert list(json.loads((tmp_path / "a" / "b.json").read_text())) == ["rank"]
    done = terminal.typed("score", "codes.npz", "frechet", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")


def test_masked_values_are_refused_wherever_arrays_come_in(arrays: dict[str, np.ndarray]) -> None:
    run, h, y = lm.load("digits"), arrays["codes"], arrays["labels"]
    hidden, message = np.ma.masked_equal(y, 0), "values of a masked array are masked; leave these rows out"
    shown = np.ma.masked_array(h, np.zeros_like(h, bool))
    assert lm.score(shown, metrics="rank").numbers == lm.score(h, metrics="rank").numbers
    image = np.ma.masked_less(np.linspace(0, 1, 256).reshape(16, 16), 0.1)
    for call in (
        lambda: lm.score(np.ma.masked_greater(h, 5)),
        lambda: lm.score(h, hidden),
        lambda: lm.score(h, list(hidden)),  # of single values
        lambda: lm.Data.from_arrays(np.zeros((240, 16, 16)), hidden),
        lambda: lm.Data.from_arrays(np.ma.stack([image] * 20)),
        lambda: run.encode([image]),
        lambda: run.decode(np.ma.masked_equal(np.zeros((2, *run.method.code_shape)), 0)),
        lambda: run.mix([image, image]),
        lambda: lm.fit_resample(np.zeros((240, 16, 16)), hidden),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_lidar_by_hand() -> None:
    """Means (+-1, 0), (0, +-2) and within groups (+-s, 0), (0, +-t): both covariances are diagonal."""
    s, t, delta = 0.5, 0.25, 1e-4
    around = torch.tensor([[s, 0.0], [-s, 0.0], [0.0, t], [0.0, -t]], dtype=torch.float64)
    means = torch.tensor([[1, 0], [-1, 0], [0, 2], [0, -2]], dtype=torch.float64)
    codes = (means[:, None] + around + torch.tensor([7.0, -3.0])).flatten(0, 1)
    spectrum = np.array([2 / 3 / (s * s / 2 + delta), 8 / 3 / (t * t / 2 + delta)])
    p = spectrum / spectrum.sum()
    expected = np.exp(-(p * np.log(p)).sum())
    assert lidar(codes, torch.arange(4).repeat_interleave(4)) == pytest.approx(expected, rel=1e-12)


def test_lidar_stays_below_the_number_of_groups() -> None:
    """Means are centred, so four groups span three directions, however wide the code is."""
    codes = torch.eye(4, 20, dtype=torch.float64).repeat_interleave(2, 0)
    assert lidar(codes, torch.arange(4).repeat_interleave(2)) == pytest.approx(3)
    with pytest.raises(ValueError, match="two groups or more"):
        lidar(codes, torch.arange(8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.full((240, 5), np.nan)}, "240 of 240 codes hold NaN or infinite"),
        ({"codes": np.zeros(240)}, r"codes of shape \(240,\): they must be \(N, D\)"),
        ({"codes": np.zeros((3, 5))}, "3 codes are too few"),
        ({"codes": np.full((240, 2), "a")}, "must be numbers"),
        ({"labels": np.zeros(239, int)}, r"labels of shape \(239,\) do not fit 240 codes"),
        ({"labels": np.zeros(240, int)}, "labels hold one class"),
        ({"labels": np.linspace(0, 1, 240)}, "whole numbers or text"),
        ({"labels": np.where(np.arange(240) % 3, 1, np.inf)}, "fractions or NaN"),
        ({"labels": np.arange(240) % 3 - 1}, "80 labels are -1, which means that an image has no label"),
        ({"factors": np.full((240, 2), np.inf)}, "factors must be whole numbers"),
        ({"codes": np.eye(5)[np.arange(240) % 5] * 1e300}, r"codes as large as 1e\+300 have squares"),
        ({"codes": np.eye(5, dtype="f4")[np.arange(240) % 5] * np.float32(1e30)}, r"as large as 1e\+30"),
        ({"codes": np.eye(5)[np.arange(240) % 5] * 1e-30}, "codes within 1e-30 of each other"),
        ({"codes": np.random.default_rng(0).normal(size=(240, 5)) + 1e9}, "5 of 5 columns of the codes"),
        ({"labels": np.arange(240)}, "every class needs 5"),
        ({"factors": np.zeros(240)}, r"must be \(240, F\)"),
        ({"pairs": np.arange(9)}, "pairs of shape"),
    ],
)
def test_what_is_wrong_is_named(arrays: dict[str, np.ndarray], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lm.score(**{**arrays, **change}, metrics=["rank", "disentanglement.fast=true", "probe"])


def test_the_command_prints_and_writes(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "codes.npz", **arrays)
    done = terminal.typed("score", "codes.npz", "knn.k=5", "--out", "scores.csv", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "100.0 %  images whose nearest training codes have their class; higher is better" in done.out
    assert "knn.k=5,knn_accuracy,1.0,higher" in (tmp_path / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "codes.npz: no such file"),
        (b"no archive", "codes.npz is no .npz file"),
        ({"code": np.zeros((30, 2))}, "it holds code; the arrays that count are codes, labels"),
        ({"labels": np.zeros(30)}, "it has no array codes, only labels"),
        ({"codes": np.array([{}] * 30)}, "codes is an array of Python objects, which may hold code"),
        ({"codes": np.zeros((30, 2)), "labels": np.array(["a"] * 30, object)}, r"labels\.astype\(str\)"),
        ({}, "it has no array codes, only nothing at all"),
    ],
)
def test_bad_files_are_named(content: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "codes.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.savez(file, **content)
    with pytest.raises((ValueError, OSError), match=message):
        read(file)


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "codes.npz", codes=np.full((30, 2), np.nan))
    done = terminal.typed("score", "codes.npz", cwd=tmp_path)
    assert done.code == 2
    assert done.err == "latentmix: 30 of 30 codes hold NaN or infinite values\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--out", "here.csv"),
            "here.csv exists already, and is kept; choose another --out",
        ),
        (("--out", "a.txt/scores.csv"), "a.txt is a file, so scores.csv cannot be written there"),
    ],
)
def test_where_scores_cannot_be_written_nothing_is_computed(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "here.csv").mkdir()
    (tmp_path / "a.txt").write_text("")
    said = terminal.refusal(terminal.typed("score", "none.npz", *words, cwd=tmp_path))
    assert message in said
    assert "is a folder; name an .npz file" in terminal.refusal(terminal.typed("score", ".", cwd=tmp_path))


def test_every_number_of_a_score_is_explained(arrays: dict[str, np.ndarray]) -> None:
    found = lm.score(**arrays, metrics=["probe", "knn", "clusters", "rank", "spread"])
    assert all(about(metric, name).meaning for metric, name, _ in found.rows())
