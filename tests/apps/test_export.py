"""Exports: what is loaded again, without latentmix, computes what the run computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from untrained_run import untrained

from latentmix import runs
from latentmix.apps.export import BATCHES, ROLES, ExportFailed, compare, export
from latentmix.apps.page.page import build
from latentmix.apps.traced import example
from latentmix.config import catalogue
from terminal import typed

FEW = ("amr", "vae", "vq_vae")  # each export takes seconds; the others are marked slow
ALL = [
    name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in catalogue.find("method")
]
ALONE = """
import sys
sys.modules["latentmix"] = None  # importing it is an error
import numpy, torch
folder, kind = sys.argv[1:]
found = {}
for name, x in numpy.load(f"{folder}/given.npz").items():
    role = name.partition("-")[0]
    if kind == "onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(f"{folder}/out/{role}.onnx")
        found[name] = session.run(None, {session.get_inputs()[0].name: x})[0]
    else:
        module = torch.export.load(f"{folder}/out/{role}.pt2").module()
        found[name] = module(torch.from_numpy(x)).detach().numpy()
numpy.savez(f"{folder}/found.npz", **found)
"""


def unused() -> None:
    raise AssertionError("this format shows no data")


def with_moved_weights(folder: Path, name: str) -> runs.OpenRun:
    run = untrained(folder, (3, 32, 32) if name == "gaia" else (1, 16, 16), name=name)
    with torch.no_grad():
        for parameter in run.method.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return run


def trained(folder: Path, name: str) -> runs.OpenRun:
    size = 32 if name == "gaia" else 16
    settings = [
        f"method={name}",
        f"image_size={size}",
        "data=digits",
        "train_size=128",
        "epochs=1",
        "out=run",
    ]
    done = typed("train", *settings, "device=cpu", cwd=folder)
    assert done.code == 0, done.err
    return runs.open_run(folder / "run")


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
@pytest.mark.parametrize("name", ALL)
def test_what_is_exported_computes_the_same_without_latentmix(tmp_path, name, kind) -> None:
    run = trained(tmp_path, name)
    assert export(run, kind, tmp_path / "out", unused) == tmp_path / "out"
    given = {f"{r}-{n}": example(run.method, r, run.shape, n) for r in ROLES for n in BATCHES}
    np.savez(tmp_path / "given.npz", **{k: x.numpy() for k, x in given.items()})
    subprocess.run([sys.executable, "-c", ALONE, str(tmp_path), kind], check=True, timeout=120)
    found = np.load(tmp_path / "found.npz")
    for k, x in given.items():
        with torch.no_grad():
            expected = getattr(run.method, k.partition("-")[0])(x).numpy()
        assert np.abs(found[k] - expected).max() <= 5e-5 * max(1, np.abs(expected).max())
    described = json.loads((tmp_path / "out" / "latentmix.json").read_text())
    assert described["image_shape"] == list(run.shape)
    assert described["weights_sha256"] == run.weights_sha256


def test_a_program_holds_the_weights_of_its_role_alone(tmp_path) -> None:
    run = with_moved_weights(tmp_path / "run", "amr")
    export(run, "pt2", tmp_path / "out", unused)
    for role, part in (("encode", "encoder"), ("decode", "decoder")):
        weights = 4 * sum(p.numel() for p in getattr(run.method.autoencoder, part).parameters())
        size = (tmp_path / "out" / f"{role}.pt2").stat().st_size
        assert weights < size < weights + 150_000


def test_the_run_is_left_as_it_was(tmp_path) -> None:
    run = with_moved_weights(tmp_path / "run", "amr")
    before = {name: value.clone() for name, value in run.method.state_dict().items()}
    export(run, "pt2", tmp_path / "out", unused)
    after = run.method.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.requires_grad for p in run.method.parameters())


def test_a_wrong_export_is_refused(tmp_path) -> None:
    run = with_moved_weights(tmp_path, "amr")
    with torch.no_grad():
        assert compare(run, "encode", run.method.encode) == 0
        with pytest.raises(ExportFailed, match="differs by"):
            compare(run, "encode", lambda x: run.method.encode(x) + 1e-3)
        with pytest.raises(ExportFailed, match="differs by nan"):
            compare(run, "encode", lambda x: run.method.encode(x) * torch.nan)
        with pytest.raises(ExportFailed, match="shape"):
            compare(run, "encode", lambda x: run.method.encode(x)[:1])


def test_an_export_that_fails_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    run = with_moved_weights(tmp_path / "run", "amr")
    monkeypatch.setattr(compare, "__defaults__", (-1.0,))
    with pytest.raises(ExportFailed):
        export(run, "pt2", tmp_path / "out", unused)
    assert list(tmp_path.iterdir()) == []


def test_a_hub_folder_opens_as_a_run_and_tells_nothing_of_this_machine(digits_run, digits, tmp_path) -> None:
    settings = {**digits_run.config, "data": {"name": "folder", "path": "/home/somebody/secret/photos"}}
    run = runs.OpenRun(**{**vars(digits_run), "config": settings})
    export(run, "hub", tmp_path / "out", lambda: digits)
    again = runs.open_run(tmp_path / "out")
    x = digits.test.pixels(slice(0, 4))
    with torch.no_grad():
        assert torch.equal(again.method.encode(x), digits_run.method.encode(x))
    assert again.weights_sha256 == digits_run.weights_sha256
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "latentmix"
    assert "seed: 0" in card
    assert "test_probe_accuracy" in card
    assert (tmp_path / "out" / "mixes.png").stat().st_size > 1000
    for file in (tmp_path / "out").rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert b"somebody" not in content
        assert str(digits_run.folder.parent).encode() not in content


def test_mistakes_are_named(digits_run, digits, tmp_path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "mine.html").write_text("mine")
    for kind in ("pt2", "onnx", "hub", "html"):
        with pytest.raises(ValueError, match="there exists already, and is kept"):
            export(digits_run, kind, tmp_path / "there", unused)
    with pytest.raises(ValueError, match=r"page\.png: a page is written as \.html"):
        export(digits_run, "html", tmp_path / "page.png", unused)
    with pytest.raises(ValueError, match=r"mine\.html exists already"):
        export(digits_run, "html", tmp_path / "mine.html", unused)
    assert (tmp_path / "mine.html").read_text() == "mine"
    with pytest.raises(ValueError, match=r"mine\.html is a file, so out cannot be written there"):
        export(digits_run, "pt2", tmp_path / "mine.html" / "out", unused)


def test_a_method_without_a_decoder_is_refused(digits_run, digits, tmp_path) -> None:
    class Classifier(torch.nn.Module):
        name = "classifier"

    run = runs.OpenRun(**{**vars(digits_run), "method": Classifier()})
    for use in (lambda: export(run, "onnx", tmp_path / "out", unused), lambda: build(run, digits)):
        with pytest.raises(
            ValueError, match="trained by method=classifier, which has no encoder and no decoder"
        ):
            use()
