"""Import an autoencoder that others trained: it becomes a run, which mixes, is scored, and is built upon."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import latentmix
from latentmix import config
from latentmix.atomic import require_new
from latentmix.config import catalogue
from latentmix.imported import functions, kl, onnx_pair, perceptrons
from latentmix.imported.found import SAFE, Found, Range, called
from latentmix.imported.method import Imported
from latentmix.runs import checkpoints
from latentmix.runs.files import write_yaml
from latentmix.runs.opened import OpenRun, open_run
from latentmix.scoring import NO_DATA

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")
HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def import_model(
    source: str,
    folder: Path,
    *,
    pixels: Range | None = None,
    size: int | None = None,
    channels: int = 3,
    picture: Path | None = None,
    data: str | None = None,
) -> OpenRun:
    """Write a run from an autoencoder of another kind, and open it.

    Arguments:
        source: A folder of diffusers' `AutoencoderKL` (or of a pipeline with a folder `vae`), the same on
            the hub as OWNER/NAME; a folder of pythae; a folder with encode.onnx and decode.onnx, or two
            files "a.onnx,b.onnx"; or "module:encode,decode".
        folder: The run's folder, which must not exist; missing folders above it are made.
        pixels: Values of black and white; needed where the model does not say.
        size: Side of the images in pixels; needed where the model does not say.
        channels: Channels of the images of Python functions.
        picture: What a decoder that also takes a picture gets.
        data: Images that go with the model, as `data=` of a training; None for none.

    Raises:
        ValueError: Nothing that can be imported lies there, something is missing to use it, or it is only
            in a form that could run code.
        FileNotFoundError: The source does not exist.
    """
    require_new(folder, option="name with --as")
    found = _read(source, pixels, size, channels, picture)
    method: dict[str, Any] = {"name": catalogue.spelled(Imported, "method"), "title": found.title}
    network = catalogue.spelled(type(found.network), "network")
    method["network"] = {"name": network, **dataclasses.asdict(found.network)}  # type: ignore[call-overload]
    settings = {"method": method, "image_size": found.shape[1], "epochs": 1, "out": str(folder)}
    run = config.resolve(settings | ({"data": data} if data else {})).as_dict()
    run |= {} if data else {"data": {"name": NO_DATA}}
    description = {
        "method": run["method"],
        "shape": list(found.shape),
        **dict.fromkeys(("num_classes", "num_attributes", "start")),
        "latentmix": latentmix.__version__,
        "run": run,
        "imported": {"from": Path(source).name, "sha256": _digest(found.weights)},
    }
    folder.resolve().parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.resolve().parent, prefix=f".{folder.name}-"))
    try:
        temporary.chmod(0o755)
        checkpoints.save(temporary, "best", found.weights, description)
        write_yaml(temporary / "config.yaml", run)
        _try_out(open_run(temporary))
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return open_run(folder)


def _read(source: str, pixels: Range | None, size: int | None, channels: int, picture: Path | None) -> Found:
    path = Path(source).expanduser()
    if "," in source and source.endswith(".onnx"):
        return onnx_pair.read([Path(p).expanduser() for p in source.split(",")], pixels, size, picture)
    if not path.exists() and functions.PAIR.fullmatch(source):
        return functions.read(source, pixels, size, channels)
    if not path.exists() and HUB.fullmatch(source):
        path = _downloaded(source)
    if not path.exists():
        raise FileNotFoundError(f"{source}: no such folder")
    if path.is_file():
        if path.suffix.lower() in PICKLES:
            raise ValueError(f"{source} is a pickle, which can run any code when it is opened; {SAFE}")
        if path.suffix.lower() == ".onnx":
            raise ValueError(f"{source} is half of an autoencoder; name two files, ENCODER.onnx,DECODER.onnx")
        raise ValueError(f"{source} is a file; {KINDS}")
    if (path / "model_index.json").is_file() and (path / "vae").is_dir():
        path /= "vae"
    if (path / "config.yaml").is_file() and (path / "checkpoints").is_dir():
        raise ValueError(f"{source} is a run of latentmix already; use it as it is")
    if (path / "config.json").is_file():
        return kl.read(path, size)
    if (path / "model_config.json").is_file():
        return perceptrons.read(path)
    for names in (("encode.onnx", "decode.onnx"), ("encoder.onnx", "decoder.onnx")):
        if all((path / name).is_file() for name in names):
            return onnx_pair.read([path / name for name in names], pixels, size, picture)
    pickles = sorted(p.name for p in path.iterdir() if p.suffix.lower() in PICKLES)
    if pickles:
        raise ValueError(f"{source} holds only pickles ({pickles[0]}), which can run any code; {SAFE}")
    raise ValueError(f"{source} holds no autoencoder that can be imported; {KINDS}")


KINDS = (
    "name a folder of diffusers' AutoencoderKL or of pythae, two ONNX files A.onnx,B.onnx, or "
    "module:encode,decode"
)


def _downloaded(name: str) -> Path:
    """A copy of a model of the hub, without anything that could run code."""
    from huggingface_hub import snapshot_download

    try:
        wanted = ["config.json", "*.safetensors", "vae/*.json", "vae/*.safetensors", "model_index.json"]
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        reason = type(error).__name__
        raise ValueError(
            f"{name}: no such folder here, and the hub gave no model of this name ({reason}); check the name "
            f"and the network, or download it elsewhere and name the folder"
        ) from error


def _try_out(run: OpenRun) -> None:
    """Encode and decode two images, before anything is kept.

    Raises:
        ValueError: Codes or images have unexpected shapes or values.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, *run.shape, generator=generator) * 2 - 1
    with torch.no_grad():
        h = called(run.method.encode, x, "the encoder")
        y = called(run.method.decode, h, "the decoder")
    if tuple(h.shape[1:]) != tuple(run.method.code_shape):
        raise ValueError(f"codes have shape {tuple(h.shape[1:])}, expected {tuple(run.method.code_shape)}")
    if y.shape != x.shape:
        raise ValueError(f"decoded images have shape {tuple(y.shape[1:])}, expected {run.shape}")
    if not (h.isfinite().all() and y.isfinite().all()):
        raise ValueError("codes or decoded images are not finite: it cannot be used")


def _digest(weights: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, value in sorted(weights.items()):
        total.update(name.encode() + value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
