"""One HTML file that mixes: the template filled with a trained run, its networks, and some of its data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from torch import Tensor

import latentmix
from latentmix.apps.neighbours import Neighbours
from latentmix.apps.own_pictures import BLANK, Known, know
from latentmix.apps.page.graph import Graph, NoPage, trace
from latentmix.apps.traced import Half, Role, code_shape, example
from latentmix.apps.trained_reader import TrainedReader, classifier_of
from latentmix.data import Data
from latentmix.methods.portions import in_portions
from latentmix.metrics import decode
from latentmix.reports.exhibit import choose
from latentmix.runs.opened import OpenRun

SCRIPTS = (
    "engine.js",
    "pictures.js",
    "mixing.js",
    "drawing.js",
    "triangle.js",
    "maps.js",
    "page.js",
    "start.js",
)
GALLERY = 12  # real pictures to choose from
MOST = 8_000_000  # bytes of a page
THUMBNAILS = 1_500_000  # bytes of training images, before compression
MARK = b'<meta name="generator" content="latentmix">'  # stands near the top of the template


def build(run: OpenRun, data: Data, *, live: bool = False, seed: int = 0) -> str:
    """Fill the page for a run.

    Arguments:
        data: What the run was trained on: a dozen of its test images can be chosen as parents, and mixes are
            compared with its training images, or with as many of them as fit into 1.5 MB.
        live: Whether the networks stay outside, behind `latentmix explore`; else they are inside the page.
        seed: Chooses the test images.

    Raises:
        NoPage: The networks are too large for a page, or of a kind that it cannot compute.
        ValueError: Images of another number of channels than 1 or 3.
    """
    check(run)
    graphs: dict[Role, Graph] = {} if live else networks(run)
    size = int(np.prod(run.shape))
    remembered = max(1, THUMBNAILS // size)
    known = know(run.method, data, remembered, classifier_of(run))
    rows = choose(data.test, GALLERY, seed)
    content = Content()
    words: dict[str, Any] = {
        "version": latentmix.__version__,
        "live": live,
        "model": model_of(run),
        "shape": run.shape,
        "codeShape": code_shape(run.method),
        "known": {
            "error": known.error,
            "nearest": known.nearest,
            "contrast": known.contrast[1],
            "blank": BLANK * known.contrast[1],
        },
        "drawings": asdict(known.drawings) if known.drawings else None,
        "constants": {},
    }
    for role, graph in graphs.items():
        words[role] = graph.ops
        words["constants"] |= _constants(graph, content)
    words["gallery"] = {
        "rows": rows.tolist(),
        "names": _names(data, rows),
        "bytes": content.add(data.test.images[rows.to(data.test.images.device)].cpu().numpy()),
    }
    words["check"] = content.add(_reconstruction(run, data, rows[:1]))
    words["training"] = {
        "count": len(known.training),
        "of": known.of,
        "bytes": content.add(known.training.numpy()),
    }
    words["reader"] = _reader(known, run, words, content)
    page = _filled(run, known, words, content.packed(), data.name)
    if len(page.encode()) > MOST:
        raise NoPage(
            f"the page would take {len(page.encode()) / 1e6:.1f} MB, more than {MOST / 1e6:.0f}; for a model "
            f"of this size use: latentmix explore {run.folder}"
        )
    return page


def is_page(path: Path) -> bool:
    """Whether a file is a page that `build` filled."""
    try:
        with path.open("rb") as file:
            return MARK in file.read(1000)
    except OSError:
        return False


def check(run: OpenRun) -> None:
    """Refuse, before any work, a run that does not mix, or whose images cannot be shown.

    Raises:
        ValueError: A method without encoder and decoder, images of another number of channels than 1 or 3, or
            images that are not square.
    """
    run.autoencoder("mixing")
    if run.shape[0] not in (1, 3) or run.shape[1] != run.shape[2]:
        raise ValueError(
            f"a page shows square images of 1 or 3 channels, and this run was trained on {run.shape}"
        )


def networks(run: OpenRun) -> dict[Role, Graph]:
    """The operations of encoder and decoder.

    Raises:
        NoPage: As `build`.
    """
    roles: tuple[Role, Role] = ("encode", "decode")
    graphs = {r: trace(Half(run.method, r), example(run.method, r, run.shape, 1), r[0]) for r in roles}
    numbers = sum(value.numel() for graph in graphs.values() for value in graph.constants.values())
    if 4 * numbers > MOST:
        raise NoPage(
            f"this model has {numbers / 1e6:.1f} million weights, too many for a page of "
            f"{MOST / 1e6:.0f} MB; use: latentmix explore {run.folder}"
        )
    return graphs


def model_of(run: OpenRun) -> dict[str, Any]:
    """What a receipt says about the model."""
    return {
        "run": run.folder.resolve().name,
        "method": run.config["method"]["name"],
        "seed": run.config["seed"],
        "checkpoint": run.checkpoint,
        "weights_sha256": run.weights_sha256,
    }


class Content:
    """Arrays, one behind the other, each at a multiple of four bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: NDArray[Any]) -> dict[str, int]:
        """Append little-endian numbers; where they begin, in bytes, and how many they are."""
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        raw = little.tobytes()
        place = {"offset": self._size, "length": little.size}
        raw += bytes(-len(raw) % 4)
        self._parts.append(raw)
        self._size += len(raw)
        return place

    def packed(self) -> str:
        """Everything, by gzip, as base64."""
        return base64.b64encode(gzip.compress(b"".join(self._parts), 9, mtime=0)).decode()


def _reconstruction(run: OpenRun, data: Data, rows: Tensor) -> NDArray[np.float32]:
    """The first test image as PyTorch reconstructs it: the page compares its own with it when it starts."""
    x = data.test.pixels(rows.to(data.test.images.device))
    return decode(run.method, in_portions(run.method, "encode", x)).numpy()


def _filled(run: OpenRun, known: Known, words: dict[str, Any], content: str, name: str) -> str:
    folder = resources.files("latentmix.apps.page")
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    style = (folder / "style.css").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        (folder / "template.html").read_text(encoding="utf-8")
    )
    policy = [
        "default-src 'none'",
        f"script-src '{_hash(script)}'",
        f"style-src '{_hash(style)}'",
        "img-src data: blob:",
        *(["connect-src 'self'"] if words["live"] else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return template.render(
        policy="; ".join(policy),
        style=style,
        script=script,
        description=json.dumps(words, allow_nan=False).replace("<", "\\u003c"),
        content=content,
        live=words["live"],
        version=latentmix.__version__,
        model={
            **model_of(run),
            "label": run.method.label,
            "data": name,
            "length": _length(run.config),
        },
        shape=run.shape,
        units=int(np.prod(code_shape(run.method))),
        training={"count": len(known.training), "of": known.of},
        reader=words["reader"],
    )


def _reader(known: Known, run: OpenRun, words: dict[str, Any], content: Content) -> dict[str, Any] | None:
    """What the page needs to read classes: labels of the training images that it holds, or a classifier."""
    reader = known.reader
    if reader is None:
        return None
    shared = {"names": reader.names, "clear": reader.clear, "right": reader.right}
    if isinstance(reader, TrainedReader):
        graph = trace(reader.net, example(run.method, "encode", run.shape, 1), "r")
        words["constants"] |= _constants(graph, content)
        return shared | {"ops": graph.ops, "k": 1}
    if (
        not isinstance(reader, Neighbours)
        or len(reader.names) > 256
        or len(reader.labels) < len(known.training)
    ):
        return None
    return shared | {"labels": content.add(reader.labels.numpy().astype(np.uint8)), "k": reader.k}


def _constants(graph: Graph, content: Content) -> dict[str, Any]:
    return {
        name: {"shape": list(value.shape), **content.add(value.numpy())}
        for name, value in graph.constants.items()
    }


def _names(data: Data, rows: Tensor) -> list[str]:
    """Class and row of each test image."""
    labels = data.test.labels
    known = [-1] * len(rows) if labels is None else labels[rows.to(labels.device)].tolist()
    return [
        f"{data.class_names[label]} (test image {row})" if label >= 0 else f"test image {row}"
        for row, label in zip(rows.tolist(), known)
    ]


def _length(config: dict[str, Any]) -> str:
    return f"{config['steps']} steps" if config.get("steps") else f"{config['epochs']} epochs"


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
