"""Feature networks of the user's: what they are fed, what is taken, how they are named, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import terminal
from latentmix import runs
from latentmix.metrics import frechet
from latentmix.metrics.features.given import network
from latentmix.outside import trust

CPU = torch.device("cpu")
FILE = """
import torch
WEIGHT = {weight}
def quarters(x):
    return WEIGHT * torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
def maps(x):
    return torch.nn.functional.adaptive_avg_pool2d(x, 2)
def one_row(x):
    return x.flatten()
def broken(x):
    raise RuntimeError("a fault of its own")
def endless(x):
    return x.flatten(1) / 0
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 4))
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(weight=1.0))
    trust([str(path)])
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_function_sees_three_channels_and_its_features_count(file, images) -> None:
    net = network(f"{file}:quarters", CPU, 32)
    features, p = net.describe(images)
    expected = nn.functional.adaptive_avg_pool2d(images, 2).flatten(1).repeat(1, 3)
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(network(f"{file}:maps", CPU, 32).describe(images)[0], expected)
    assert p.tolist() == [[1.0]] * 60
    assert not net.classes
    assert net.protocol["features"] == "mine.py:quarters"


def test_the_fingerprint_follows_what_a_function_computes_and_not_its_name(file, tmp_path) -> None:
    same, other = (tmp_path / name for name in ("same.py", "other.py"))
    same.write_text("# a comment\n" + FILE.format(weight=1.0))
    other.write_text(FILE.format(weight=1.1))
    trust([str(same), str(other)])
    prints = [network(f"{path}:quarters", CPU, 32).fingerprint for path in (file, same, other)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_row", r"must return features \(B, D\) for images \(B, 3, H, W\), and returned \(24576,\)"),
        ("broken", r"mine.py:broken does not take images \(3, 32, 32\): a fault of its own"),
        ("endless", "features that are not finite"),
        ("number", "has no function number"),
        ("nothing", "has no function nothing"),
    ],
)
def test_functions_that_cannot_be_used_are_named(file, name, message) -> None:
    with pytest.raises(ValueError, match=message):
        network(f"{file}:{name}", CPU, 32)


def test_a_module_is_switched_to_evaluation(file) -> None:
    net = network(f"{file}:net", CPU, 32)
    assert not net.body.network.training
    assert net.describe(torch.zeros(3, 3, 32, 32))[0].shape == (3, 4)


def test_files_are_run_only_where_they_are_allowed(tmp_path) -> None:
    (tmp_path / "strange.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match="add --allow"):
        network(f"{tmp_path}/strange.py:f", CPU, 32)


@pytest.mark.parametrize("name", ["inceptoin", "nets/", "a b:c"])
def test_other_words_are_refused_with_what_there_is(name) -> None:
    with pytest.raises(ValueError, match=r"choose classifier, inception, NET\.onnx, a folder in transf"):
        network(name, CPU, 32)


def onnx_file(path: Path, batch: int | str, side: int | str) -> Path:
    """Means of the channels of the images, written with onnx's own helpers."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    node = helper.make_node("GlobalAveragePool", ["images"], ["features"])
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, side, side])
    made = helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 3, 1, 1])
    graph = helper.make_graph([node], "means", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("batch", "side"), [("n", "s"), (1, 16), ("n", 16)])
def test_an_onnx_file_of_any_or_of_one_size(images, tmp_path, batch, side) -> None:
    import hashlib

    path = onnx_file(tmp_path / "net.onnx", batch, side)
    net = network(str(path), CPU, 32)
    features, _ = net.describe(images)
    torch.testing.assert_close(features, images.mean((2, 3)).repeat(1, 3), atol=1e-5, rtol=0)
    assert net.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert net.name == "net.onnx (ONNX)"


def test_onnx_files_that_cannot_be_used_are_named(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "words.onnx").write_bytes(b"these are words")
    with pytest.raises(ValueError, match=r"words.onnx: not an ONNX model that can be run"):
        network(str(tmp_path / "words.onnx"), CPU, 32)
    with pytest.raises(ValueError, match=r"absent.onnx: no such file"):
        network(str(tmp_path / "absent.onnx"), CPU, 32)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory):
    """A tiny DINOv2 with random weights, as transformers writes one."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    net, folder = transformers.Dinov2Model(config).eval(), tmp_path_factory.mktemp("dino")
    net.save_pretrained(folder)
    words = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2], "crop_size": {"height": 28}}
    (folder / "preprocessor_config.json").write_text(json.dumps(words))
    return net, folder


def test_a_folder_of_transformers_gives_the_pooled_features_of_normalised_images(dino) -> None:
    theirs, folder = dino
    x = torch.rand(5, 3, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    net = network(str(folder), CPU, 32)
    mean = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)
    with torch.no_grad():
        expected = theirs(pixel_values=((x + 1) / 2 - mean) / 0.2).pooler_output
    torch.testing.assert_close(net.describe(x)[0], expected, atol=1e-5, rtol=1e-5)
    assert net.name.endswith("(Dinov2Model)")
    with torch.no_grad():
        next(theirs.parameters()).add_(1e-3)
    theirs.save_pretrained(folder)
    assert network(str(folder), CPU, 32).fingerprint != net.fingerprint


def test_folders_without_weights_or_with_pickles_are_refused(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(ValueError, match=r"has config\.json and weights in safetensors"):
        network(str(tmp_path), CPU, 32)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="transformers cannot read it"):
        network(str(tmp_path), CPU, 32)


def test_the_frechet_score_by_it_leaves_the_class_score_out(file, toy_data, toy_method) -> None:
    score = frechet.evaluate(toy_method, toy_data, features=f"{file}:quarters", n=100)
    assert score.values["frechet"] > score.values["frechet_real"] > 0
    assert not [name for name in score.values if name.startswith("class_score")]
    assert score.protocol["features"] == "mine.py:quarters"
    assert score.protocol["fingerprints"] == [score.protocol["fingerprint"]]
    x = toy_data.train.pixels(
        torch.randperm(len(toy_data.train), generator=torch.Generator().manual_seed(0))[:100]
    )
    g = torch.Generator().manual_seed(0)
    torch.randperm(len(toy_data.train), generator=g)
    y = toy_data.test.pixels(torch.randperm(len(toy_data.test), generator=g)[:100])
    quarters = [nn.functional.adaptive_avg_pool2d(z.expand(-1, 3, -1, -1), 2).flatten(1) for z in (x, y)]
    assert score.values["frechet_real"] == pytest.approx(frechet.frechet(*quarters), rel=1e-4)
    assert np.isfinite(list(score.values.values())).all()


def test_the_command_line_takes_it_and_scores_anew_when_it_changed(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    words = ("evaluate", "run", "frechet.features=./mine.py:quarters", "frechet.n=60")
    prints = []
    for weight in (1.0, 2.0):
        (tmp_path / "mine.py").write_text(FILE.format(weight=weight))
        done = terminal.typed(*words, cwd=tmp_path)
        assert done.code == 0, done.err
        (score,) = [v for k, v in runs.read_scores(tmp_path / "run").items() if k.startswith("frechet")]
        prints.append(score["protocol"]["fingerprint"])
        assert "class_score" not in score["values"]
    assert prints[0] != prints[1]
    refused = terminal.refusal(
        terminal.typed("evaluate", "run", "frechet.features=absent.onnx", cwd=tmp_path)
    )
    assert "features=absent.onnx: no such file" in refused
