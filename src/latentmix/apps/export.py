"""A trained run in other formats: ONNX, torch.export, a hub folder, a web page; checked on the spot."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from latentmix.apps import card
from latentmix.apps.page.page import build, is_page, model_of
from latentmix.apps.traced import Half, Role, code_shape, example
from latentmix.atomic import require_new
from latentmix.data import Data
from latentmix.methods.portions import in_portions
from latentmix.networks import forms
from latentmix.runs import OpenRun, write_atomically

Format = Literal["html", "onnx", "pt2", "hub"]
ROLES: tuple[Role, Role] = ("encode", "decode")
BATCHES = (1, 3, 7)
TOLERANCE = 5e-5  # of the largest output, or of 1 where that is less


class ExportFailed(RuntimeError):
    """What was exported does not compute what the run computes; nothing is left behind."""


def export(run: OpenRun, to: Format, out: Path, data: Callable[[], Data]) -> Path:
    """Write a run's encoder and decoder so that they can be used elsewhere.

    Formats:
        html: The page that mixes, one file (`page.build`).
        onnx: A folder with encode.onnx and decode.onnx, any batch size, for ONNX Runtime and others.
        pt2: A folder with encode.pt2 and decode.pt2, any batch size, for `torch.export.load`.
        hub: A folder to upload, with a model card; it opens as a run.

    The last three are loaded again and compared with the run on batches of 1, 3 and 7, largest difference
    5e-5; a file or folder appears when all is done, and folders above it that are missing are made.

    Arguments:
        data: Gives what the run was trained on, where a format shows some of it.

    Raises:
        ValueError: The method has no encoder and decoder, `out` exists and is not a page that was exported,
            or a page has another ending than .html.
        ExportFailed: The comparison failed.
    """
    run.autoencoder("an export")
    out = Path(out)
    require_new(out, renewed=to == "html" and is_page(out))
    if to == "html" and out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out}: a page is written as .html")
    if to == "html":
        page = build(run, data())
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, page)
        return out
    with _appearing(out) as folder:
        if to == "hub":
            card.write(run, data(), folder, out.name)
            return out
        for role in ROLES:
            {"onnx": _onnx, "pt2": _pt2}[to](run, role, folder)
        words = {**model_of(run), "image_shape": run.shape, "code_shape": code_shape(run.method)}
        words |= {
            "image_range": [-1, 1],
            "image_layout": "batch, channels, height, width",
            "dtype": "float32",
        }
        (folder / "latentmix.json").write_text(json.dumps(words, indent=2) + "\n")
    return out


def compare(
    run: OpenRun, role: Role, other: Callable[[Tensor], Tensor], tolerance: float = TOLERANCE
) -> float:
    """Largest difference from the run on random batches, as a share of the largest output or of 1.

    Raises:
        ExportFailed: It is above the tolerance.
    """
    worst = 0.0
    for batch in BATCHES:
        x = example(run.method, role, run.shape, batch)
        expected = in_portions(run.method, role, x).float()
        found = other(x)
        if found.shape != expected.shape:
            raise ExportFailed(f"{role} gives shape {tuple(found.shape)} for {tuple(expected.shape)}")
        apart = float((found - expected).abs().max() / expected.abs().max().clamp_min(1))
        if not apart <= tolerance:  # NaN included
            raise ExportFailed(
                f"what was exported differs by {apart:.1e} in {role}, more than {tolerance:.0e}"
            )
        worst = max(worst, apart)
    return worst


def _onnx(run: OpenRun, role: Role, folder: Path) -> None:
    import onnxruntime

    path, names = folder / f"{role}.onnx", ["images", "codes"]
    first, last = names if role == "encode" else names[::-1]
    with _quiet(), forms.layer_by_layer():
        program = torch.onnx.export(
            Half(run.method, role),
            (example(run.method, role, run.shape),),
            dynamo=True,
            input_names=[first],
            output_names=[last],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    compare(run, role, lambda x: torch.from_numpy(np.asarray(session.run(None, {first: x.numpy()})[0])))


def _pt2(run: OpenRun, role: Role, folder: Path) -> None:
    path, module = folder / f"{role}.pt2", Half(run.method, role)
    images, batch = (example(run.method, role, run.shape),), ({0: torch.export.Dim("batch")},)
    with _quiet(), forms.layer_by_layer(), torch.no_grad():
        program = torch.export.export(module, images, dynamic_shapes=batch)
        _forget(module, program)
        program = torch.export.export(module, images, dynamic_shapes=batch)
        torch.export.save(program, path)
        loaded: nn.Module = torch.export.load(path).module()
    compare(run, role, lambda x: loaded(x))


def _forget(module: nn.Module, program: torch.export.ExportedProgram) -> None:
    """Empty the weights that a program does not use: those of the critic, the probe, and the other half."""
    program.graph.eliminate_dead_code()
    unused = {node.name for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    for spec in program.graph_signature.input_specs:
        if spec.arg.name in unused and spec.target is not None:
            owner, _, name = spec.target.rpartition(".")
            getattr(module.get_submodule(owner), name).data = torch.empty(0)


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder that gets its name when it is complete, and is removed if that fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's notes about its own exporter from the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
