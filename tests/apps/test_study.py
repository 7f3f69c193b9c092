"""A study in Python: names, strings and paths alike, own data from arrays, and runs that draw and mix."""

from __future__ import annotations

import shutil
import warnings
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import latentmix as lm
from latentmix.apps.own_pictures import suit
from latentmix.runs import RunError, checkpoints

SMALL: dict[str, Any] = {
    "device": "cpu",
    "batch_size": 16,
    "steps": 3,
    "quiet": True,
    "method.network.width": 4,
}


@pytest.fixture(scope="module")
def opened(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> lm.Trained:
    """A trained run that may be changed by this module's tests."""
    return lm.load(shutil.copytree(tiny_run, tmp_path_factory.mktemp("study") / "tiny"))


def stripes(n: int = 90, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Stripes along one axis or the other, and which."""
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.integers(0, 256, (n, side, 1)), side, 2).astype(np.uint8)
    y = np.arange(n) % 2
    return np.where(y[:, None, None] == 0, rows, rows.transpose(0, 2, 1)), y


def test_a_run_is_loaded_and_scored_by_string_path_or_itself(opened: lm.Trained) -> None:
    folder = opened.folder
    for where in (folder, str(folder), opened):
        scores = lm.evaluate(where, "knn.k=5")
        assert list(scores) == ["knn.k=5"]
    assert list(lm.evaluate(opened, "probe")) == ["probe"]  # one metric, not its letters
    assert list(lm.evaluate(opened, ["probe", "knn.k=5"], "rank")) == ["probe", "knn.k=5", "rank"]
    assert set(opened.scores) >= {"probe", "knn.k=5", "rank"}
    assert lm.load(str(folder)).weights_sha256 == opened.weights_sha256


def test_other_data_are_scored_and_not_kept(opened: lm.Trained) -> None:
    x, y = stripes()
    before = dict(opened.scores)
    found = lm.evaluate(opened, "knn.k=3", data=lm.Data.from_arrays(x, y))
    assert 0 <= found.numbers["knn.k=3"]["knn_accuracy"] <= 1  # type: ignore[operator]
    assert opened.scores == before
    with pytest.raises(ValueError, match="was trained on images"):
        lm.evaluate(opened, "knn", data=lm.Data.from_arrays(np.repeat(x[..., None], 3, 3), y))


def test_a_metric_that_cannot_be_computed_warns_or_raises(opened: lm.Trained) -> None:
    with pytest.raises(ValueError, match="disentanglement: this metric needs data with factors"):
        lm.evaluate(opened, "disentanglement")
    with pytest.warns(UserWarning, match="disentanglement"):
        assert list(lm.evaluate(opened, "disentanglement", "knn.k=5")) == ["knn.k=5"]
    with pytest.raises(ValueError, match="did you mean probe"):
        lm.evaluate(opened, "prob")


def test_codes_come_back_without_gradients_and_decode(opened: lm.Trained) -> None:
    x = opened.data.test.images[:4]
    codes = opened.encode(x)
    assert not codes.requires_grad
    with torch.no_grad():
        expected = opened.method.encode(opened.data.test.pixels(slice(0, 4)))
    torch.testing.assert_close(codes, expected)
    torch.testing.assert_close(codes, opened.encode(x.numpy()[:, 0]))
    assert opened.decode(codes).shape == (4, 1, 16, 16)
    torch.testing.assert_close(opened.decode(codes[0]), opened.decode(codes.flatten(1))[:1])
    with pytest.raises(ValueError, match="codes of this run have 32 units"):
        opened.decode(codes.flatten(1)[:, :5])


def test_mixes_and_figures_are_pillow_images(opened: lm.Trained, tmp_path: Path) -> None:
    x = opened.data.test.images[:3].numpy()
    one, two, three = opened.pictures(x)
    one.save(tmp_path / "one.png")
    walk = opened.mix([tmp_path / "one.png", two], steps=3)
    assert isinstance(walk, Image.Image)
    assert walk.tobytes() == opened.mix(x[:2], steps=3).tobytes()
    assert opened.mix([one, two, three], steps=3).size != walk.size  # a triangle
    for path in ("slerp", "crossover"):
        assert isinstance(opened.mix([one, two], path=path), Image.Image)  # type: ignore[arg-type]
    for name in ("interpolations", "triangle", "learning_curves"):
        assert isinstance(opened.figure(name), Image.Image)
    with pytest.raises(ValueError, match="at least 2 images"):
        opened.mix([one])
    with pytest.raises(ValueError, match="no figure is called"):
        opened.figure("portrait")


def test_drawings_are_adapted_as_the_command_does(typed_digits: list[Path]) -> None:
    run = lm.load("digits")
    size, pair = run.shape[1], typed_digits[3:5]
    known = run.known
    assert known is not None
    adapted = [suit(Image.open(path), size, known.drawings)[0] for path in pair]
    with pytest.warns(UserWarning, match=r"3\.png was inverted, cut out and centred.*as_is=True leaves it"):
        mixed = run.mix(pair, steps=3)
    with pytest.warns(UserWarning, match=r"the Pillow image was inverted"):
        assert run.mix([Image.open(path) for path in pair], steps=3).tobytes() == mixed.tobytes()
    arrays = [np.asarray(image) for image in adapted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run.mix(arrays, steps=3).tobytes() == mixed.tobytes()
    with pytest.warns(UserWarning, match="image 1 is unlike what the model knows"):
        assert run.mix(pair, steps=3, as_is=True).tobytes() != mixed.tobytes()


def test_a_device_is_named_by_a_string_or_by_torch(opened: lm.Trained) -> None:
    assert lm.load(opened.folder, device=torch.device("cpu")).weights_sha256 == opened.weights_sha256
    for take in (lm.load, lm.evaluate, lm.report):
        with pytest.raises(ValueError, match="device=3: choose one of"):
            take(opened.folder, device=3)  # type: ignore[operator]


def test_a_notebook_shows_a_run_and_its_scores(opened: lm.Trained) -> None:
    lm.evaluate(opened, "probe")
    for thing in (opened, opened.scores):
        html = thing._repr_html_()
        xml.etree.ElementTree.fromstring(f"<div>{html}</div>")  # tags are closed
        assert "offline accuracy" in html
        assert " %" in html
    assert "AMR on digits" in repr(opened)


def test_scores_are_written_as_csv_and_latex(opened: lm.Trained, tmp_path: Path) -> None:
    scores = lm.evaluate(opened, "probe")
    scores.to_csv(tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    value = scores["probe"]["values"]["offline_accuracy"]
    assert any(line.startswith(f"probe,offline_accuracy,{value},higher,") for line in lines)
    latex = scores.to_latex()
    assert rf"{100 * value:.1f} \% \\" in latex
    assert "offline_accuracy" not in latex


@pytest.mark.parametrize("make", [lm.Data.from_arrays, None], ids=["arrays", "dataset"])
def test_own_data_train_continue_and_score(make: Callable[..., lm.Data] | None, tmp_path: Path) -> None:
    x, y = stripes()
    if make is None:
        pairs = torch.utils.data.TensorDataset(
            torch.from_numpy(x)[:, None].float() / 255, torch.from_numpy(y)
        )
        data = lm.Data.from_dataset(pairs)
    else:
        data = make(x, y, class_names=["rows", "columns"])
    run = lm.train(method=lm.Autoencoder, data=data, out=tmp_path / "a", **SMALL)
    assert torch.equal(run.data.train.images, data.train.images)
    assert torch.equal(run.data.test.labels, data.test.labels)
    assert run.data.class_names == data.class_names
    assert lm.evaluate(str(tmp_path / "a"), "knn.k=3")
    again = lm.train(method="autoencoder", data=data, out=str(tmp_path / "a"), **{**SMALL, "steps": 4})
    assert again.log[-1]["step"] == 4
    with pytest.raises(RunError, match="holds a run on other data"):
        lm.train(
            method="autoencoder", data=lm.Data.from_arrays(x[::-1].copy(), y), out=tmp_path / "a", **SMALL
        )


def test_settings_may_be_words_values_and_dictionaries(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("train_size: 64\nimage_size: 16\n")
    method = {"name": "ae_gan", "network": {"name": "conv", "width": 4}}
    run = lm.train(
        tmp_path / "small.yaml", "seed=3", method=method,
        data="digits", out=tmp_path / "b", steps=2, batch_size=16, device="cpu", quiet=True,
    )  # fmt: skip
    assert run.config["seed"] == 3
    assert run.config["method"]["network"]["width"] == 4
    assert run.config["train_size"] == 64
    with pytest.raises(ValueError, match="bacth_size"):
        lm.train(bacth_size=3)
    with pytest.raises(RunError, match="does not exist"):
        lm.load(tmp_path / "none")


def test_what_is_of_a_wrong_kind_is_named(opened: lm.Trained) -> None:
    images = np.zeros((4, 16, 16), np.uint8)
    for call in (lambda: lm.evaluate(opened, "probe", data=images), lambda: lm.train(data=images)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"data is of type ndarray; lm\.Data\.from_arrays"):
            call()
    with pytest.raises(TypeError, match="a metric is of type int; give its name"):
        lm.evaluate(opened, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="export digits --to hub --out my-digits` writes"):
        lm.evaluate(lm.load("digits"), "knn")
    with pytest.raises(TypeError, match="method is of type int"):
        lm.train(method=5)
    for run in (3, None, b"runs/a", ["runs/a"]):
        for take in (lm.load, lm.open_run, lm.evaluate, lm.report):
            said = f"the run is of type {type(run).__name__}; name its folder by a string or a path"
            with pytest.raises(TypeError, match=said):
                take(run)
    with pytest.raises(ValueError, match="codes hold NaN"):
        opened.decode(np.full((1, *opened.method.code_shape), np.nan))  # type: ignore[attr-defined]
    for codes in ("text", None, np.zeros((1, *opened.method.code_shape), complex)):  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="they must be real numbers"):
            opened.decode(codes)
    with pytest.raises(ValueError, match=r"they must be \(N, H, W\)"):
        lm.Data.from_arrays(np.zeros(5))
    for nothing in (3, None, "mnist"):
        with pytest.raises(ValueError, match=f"{type(nothing).__name__} holds no images"):
            lm.Data.from_arrays(nothing)
    with pytest.raises(ValueError, match="int holds no items; give a dataset"):
        lm.Data.from_dataset(3)  # type: ignore[arg-type]
    for item in (None, ()):
        with pytest.raises(ValueError, match="train item 0 is an image of shape"):
            lm.Data.from_dataset([item] * 9)
    for labels in (np.array([0, 1, np.nan, 1]), np.array(["a", None, "b", "a"], object)):
        with pytest.raises(ValueError, match=r"labels (must be|are of type)"):
            lm.fit_resample(images, labels)
    for steps in (1, 2.5, float("nan"), None, "3", True):
        with pytest.raises(ValueError, match=f"steps={steps}: give a whole number of 2 or more"):
            opened.mix(images[:2], steps=steps)  # type: ignore[arg-type]
    for count, steps, mixes in ((2, 2001, "2,001"), (3, 63, "2,016")):
        with pytest.raises(
            ValueError, match=f"steps={steps} makes a picture of {mixes} mixes; at most 2,000"
        ):
            opened.mix(images[:count], steps=steps)


def test_a_run_on_other_data_is_no_baseline(opened: lm.Trained, tmp_path: Path) -> None:
    other = Path(shutil.copytree(opened.folder, tmp_path / "other"))
    described = {**opened.description, "data": "another"}
    checkpoints.save(other, "best", dict(opened.method.state_dict()), described)
    with pytest.raises(RunError, match="runs of unlike data cannot stand side by side"):
        lm.report(opened, other)


def test_the_report_compares_runs(opened: lm.Trained) -> None:
    assert lm.report(str(opened.folder)).name == "report.html"
