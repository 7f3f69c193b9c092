"""Resynthesis: mix a person's own images by a trained run, with a receipt of how every cell was made."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import latentmix
from latentmix.apps.own_pictures import Drawings, Known, adapted, judge, know, suit
from latentmix.apps.paths import MOST, Walk, walk
from latentmix.apps.readers import Reader, summary
from latentmix.apps.refine import refine
from latentmix.apps.trained_reader import classifier_of
from latentmix.atomic import require_new
from latentmix.data.decoding.images import BadImage, open_image
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes, require
from latentmix.metrics import decode
from latentmix.mixing import simplex_grid
from latentmix.pictures.figures import evaluating, interpolations, triangle
from latentmix.pictures.tiles import Label, Tile, sheet
from latentmix.runs import OpenRun, write_together
from latentmix.scoring import data_of

LAYOUTS = ("strip", "triangle", "grid", "gif")
STILL: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
}
RECEIPT = ".json"  # is added to the name of the picture
FRAME, HOLD = 90, 700  # milliseconds; the film rests where it shows a parent
FILM_LEAST = 192  # pixels of the shorter side of a film's tiles


class Cell(NamedTuple):
    """One decoded mix: where it stands, and how much of each parent is in it (one weight a parent, sum 1)."""

    row: int
    column: int
    weights: dict[int, float]


def resynthesise(
    run: OpenRun,
    images: Sequence[Path],
    *,
    steps: int = 9,
    layout: str | None = None,
    path: str = "lerp",
    out: Path,
    known: Known | None = None,
    as_is: bool = False,
    refined: int = 0,
) -> dict[str, Any]:
    """Mix images of any size and mode, write the picture, and beside it a receipt, `OUT.json`.

    The same run, images and options give the same bytes; nothing is drawn at random. Real parents, resized to
    what the run was trained on, stand beside their reconstructions.

    Arguments:
        images: Two or more image files.
        steps: Cells from one parent to the next, both ends counted; the cells of a triangle's side.
        layout: "strip" (a row from each image to the next), "triangle" (three images), "grid" (midpoints of
            all pairs), "gif" (an animation there and back); by default what suits the images and `out`.
        path: How codes are walked between: "lerp", "slerp", "crossover" of feature maps, or "learned", by the
            method's own mixing function, whose ends are nearly, not exactly, the parents.
        out: .png, .jpg or .webp; .gif for the animation. Missing folders are made, and a mix with its receipt
            is renewed.
        known: What is usual for the model (`known_of`): drawings are then adapted to it, and the receipt says
            how, and how far each image is from what the model knows.
        as_is: Leave drawings unchanged.
        refined: Steps by which codes and decoder are fitted to the images first (`refine`); 0 for none.

    Returns:
        The receipt: parents and output with their SHA-256, the model, and each cell's parents with their
        weights (for other paths than "lerp", whose weights are not two numbers, the position from 0 to 1);
        where classes can be read (`neighbours`), each cell's class, and the doubt that it is a parent's.

    Raises:
        ValueError: Fewer than two images, an unreadable one (named), something else that has the name of
            `out` or of its receipt, or options that do not fit together.
        FileNotFoundError: An image that does not exist.
    """
    images, out = [Path(i) for i in images], Path(out)
    layout = _settle(run, images, steps, layout, path, out, refined)
    contents = [_read(image) for image in images]
    drawings = None if known is None or as_is else known.drawings
    read = [_pixels(image, content, run.shape, drawings) for image, content in zip(images, contents)]
    x = torch.stack([pixels for pixels, _ in read])

    cells = {"strip": _chain, "gif": _chain, "triangle": _simplex, "grid": _pairs}[layout](len(x), steps)
    method, fitted = run.autoencoder("mixing"), None
    if refined:
        fitted = refine(run.method, x, refined)
        method = require(fitted.method, Autoencodes, "mixing")
    with evaluating(method):
        h = in_portions(method, "encode", x) if fitted is None else fitted.codes
        way = walk(method, path)
        mixes = decode(method, torch.stack([_mix(h, cell.weights, way) for cell in cells]))

    receipt: dict[str, Any] = {
        "latentmix": latentmix.__version__,
        "model": {
            "run": run.folder.resolve().name,
            "method": run.config["method"]["name"],
            "seed": run.config["seed"],
            "checkpoint": run.checkpoint,
            "weights_sha256": run.weights_sha256,
        },
        "parents": [
            {"file": image.name, "sha256": _sha256(content)} for image, content in zip(images, contents)
        ],
        "layout": layout,
        "path": path,
        "steps": steps,
        "cells": [_account(cell, path) for cell in cells],
    }
    if known is not None:
        likeness = judge(run.method, x, known)
        for parent, (_, done), found in zip(receipt["parents"], read, likeness):
            parent |= {"adapted": done, **found.account}
        if known.reader is not None:
            votes = [found.votes for found in likeness]
            receipt |= _classes(known.reader, votes, mixes, cells, receipt["cells"])
    if fitted is not None:
        names = ("encoded", "codes_fitted", "decoder_fitted")
        receipt["refined"] = {"steps": refined, "errors": dict(zip(names, fitted.errors))}
    if layout == "gif":
        content = _film(x, mixes, cells)
    else:
        drawn = {"strip": _strip, "triangle": _triangle, "grid": _grid}[layout](x, mixes, run.method.label)
        content = _still(drawn, out.suffix.lower(), receipt)
    receipt["output"] = {"file": out.name, "sha256": _sha256(content)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_together({out: content, _receipt_of(out): json.dumps(receipt, indent=2) + "\n"})
    return receipt


def known_of(run: OpenRun, path: str | None = None) -> Known | None:
    """What is usual for a run's model, measured on its data; None where these are not at hand.

    Arguments:
        path: Where the data are now, if they have moved.

    Raises:
        FileNotFoundError, ValueError: The data are not at `path`, or do not fit the run.
    """
    if path is not None:
        return know(run.method, data_of(run, path=path), classifier=classifier_of(run))
    try:
        return know(run.method, data_of(run), classifier=classifier_of(run))
    except (ValueError, OSError):
        return None


def remarks(receipt: dict[str, Any]) -> list[str]:
    """What a person should be told about the parents of a receipt: one line each."""
    lines = []
    for parent in receipt["parents"]:
        if parent.get("adapted"):
            lines.append(adapted(parent["file"], parent["adapted"], "--as-is"))
        if parent.get("unlike"):
            lines.append(f"{parent['file']} is unlike what the model knows: {parent['unlike']}")
    cells = receipt["cells"]
    doubts = [(f"row {c['row'] + 1}, column {c['column'] + 1}", c["doubt"]) for c in cells if c.get("doubt")]
    return lines + summary(doubts, len(cells))


def _classes(
    reader: Reader,
    parents: Sequence[Tensor | None],
    mixes: Tensor,
    cells: Sequence[Cell],
    accounts: list[dict[str, Any]],
) -> dict[str, Any]:
    """Read the class of every mix into its account; what to say of the reader in the receipt."""
    used = [[i for i, weight in cell.weights.items() if weight > 0] for cell in cells]
    for account, (read, doubt) in zip(accounts, reader.read(mixes, parents, used)):
        account |= {"reads_as": read, "doubt": doubt}
    about = reader.account | {"clear": reader.clear}
    return {"classes_read_by": about | {"right_of_reconstructed_test_images": round(reader.right, 4)}}


def _settle(
    run: OpenRun,
    images: Sequence[Path],
    steps: int,
    layout: str | None,
    path: str,
    out: Path,
    refined: int,
) -> str:
    """Check that everything fits together, before any work; returns the layout."""
    suffix = out.suffix.lower()
    if layout is None:
        layout = "gif" if suffix == ".gif" else "triangle" if len(images) == 3 and path == "lerp" else "strip"
    if layout not in LAYOUTS:
        raise ValueError(f"no layout is called {layout!r}; there are {', '.join(LAYOUTS)}")
    walk(run.autoencoder("mixing"), path)
    if len(images) < 2:
        raise ValueError(f"mixing takes at least 2 images, got {len(images)}")
    if steps < 2:
        raise ValueError(f"steps={steps}: a path has at least its two ends, 2")
    cells = steps * (steps + 1) // 2 if layout == "triangle" else steps * (len(images) - 1)
    if (cells := len(images) ** 2 if layout == "grid" else cells) > MOST:
        raise ValueError(f"steps={steps} makes a picture of {cells:,} mixes; at most {MOST:,} are drawn")
    if layout == "triangle" and len(images) != 3:
        raise ValueError(f"a triangle mixes 3 images, got {len(images)}; choose strip, grid or gif")
    if layout == "triangle" and path != "lerp":
        raise ValueError(f"a triangle mixes three codes at once and {path} walks between two; choose lerp")
    if not 0 <= refined <= 100_000:
        raise ValueError(f"refine={refined}: a number of steps from 0 to 100,000")
    if run.shape[0] not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels, and this run was trained on {run.shape[0]}")
    if layout == "gif" and suffix != ".gif":
        raise ValueError(f"{out}: an animation is written as .gif")
    if layout != "gif" and suffix not in STILL:
        what = "a .gif is an animation" if suffix == ".gif" else f"unknown kind of picture {suffix!r}"
        raise ValueError(f"{out}: {what}; a {layout} is written as {', '.join(STILL)}")
    is_parent = any(image.exists() and out.exists() and image.samefile(out) for image in images)
    require_new(out, _receipt_of(out), renewed=_is_a_mix(out) and not is_parent)
    return layout


def _receipt_of(out: Path) -> Path:
    return out.with_name(out.name + RECEIPT)


def _is_a_mix(out: Path) -> bool:
    """Whether a picture is as `resynthesise` wrote it, which its receipt proves."""
    try:
        receipt = json.loads(_receipt_of(out).read_bytes())
        return receipt["output"] == {"file": out.name, "sha256": _sha256(out.read_bytes())}
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _read(image: Path) -> bytes:
    if not image.exists():
        raise FileNotFoundError(f"{image}: no such image file")
    if not image.is_file():
        raise ValueError(f"{image} is a folder; name image files")
    return image.read_bytes()


def _pixels(
    name: Path, content: bytes, shape: tuple[int, int, int], drawings: Drawings | None
) -> tuple[Tensor, list[str]]:
    """Decode, adapt, resize: (C, H, W) in [-1, 1], like the data of a training; and what was adapted."""
    try:
        image, done = suit(open_image(content, name.name), shape[1], drawings)
    except BadImage as error:
        raise ValueError(f"{name} cannot be used as an image: {error}") from error
    pixels = np.asarray(image.convert("L" if shape[0] == 1 else "RGB"), dtype=np.float32)
    return torch.from_numpy(pixels.reshape(*shape[1:], shape[0])).permute(2, 0, 1) / 127.5 - 1, done


def _chain(n: int, steps: int) -> list[Cell]:
    """A row for each leg of the way 0, 1, ..., n - 1."""
    ts = [t / (steps - 1) for t in range(steps)]
    return [Cell(i, c, {i: 1 - t, i + 1: t}) for i in range(n - 1) for c, t in enumerate(ts)]


def _simplex(n: int, steps: int) -> list[Cell]:
    places = [(line, c) for line in range(steps) for c in range(line + 1)]
    grid = simplex_grid(n, steps).tolist()
    return [Cell(*place, dict(enumerate(weights))) for place, weights in zip(places, grid)]


def _pairs(n: int, steps: int) -> list[Cell]:
    """Row i, column j: halfway from i to j; on the diagonal the parents' reconstructions."""
    return [Cell(i, j, {i: 0.5, j: 0.5} if i != j else {i: 1.0}) for i in range(n) for j in range(n)]


def _mix(h: Tensor, weights: dict[int, float], way: Walk) -> Tensor:
    parents, shares = list(weights), torch.tensor(list(weights.values()))
    if len(parents) == 2:
        first, second = (h[i : i + 1] for i in parents)
        return way(first, second, shares[1:])[0, 0]
    return torch.einsum("k,k...->...", shares.to(h), h[parents])


def _account(cell: Cell, path: str) -> dict[str, Any]:
    parents, weights = list(cell.weights), [round(w, 6) for w in cell.weights.values()]
    made = {"position": weights[1]} if path != "lerp" and len(weights) == 2 else {"weights": weights}
    return {"row": cell.row, "column": cell.column, "parents": parents, **made}


def _strip(x: Tensor, mixes: Tensor, label: str) -> Image.Image:
    legs = len(x) - 1
    return interpolations({label: mixes.unflatten(0, (legs, -1))}, ends=torch.stack([x[:-1], x[1:]], 1))


def _triangle(x: Tensor, mixes: Tensor, label: str) -> Image.Image:
    return triangle(mixes, x)


def _grid(x: Tensor, mixes: Tensor, label: str) -> Image.Image:
    n = len(x)
    tiles = [Tile(i % n, i // n, image) for i, image in enumerate(mixes)]
    tiles += [Tile(-1.15, i, image) for i, image in enumerate(x)]
    tiles += [Tile(i, -1.15, image) for i, image in enumerate(x)]
    return sheet(tiles, [Label(0, -1.15, "real")])


def _film(x: Tensor, mixes: Tensor, cells: Sequence[Cell]) -> bytes:
    """From the first parent to the last and back, each mix between its two real parents."""
    frames, durations = [], []
    for cell, mix in zip(cells, mixes):
        if cell.row and not cell.column:
            continue  # a leg begins where the one before it ended
        first, second = cell.weights
        tiles = [Tile(0, 0, x[first]), Tile(1.1, 0, mix), Tile(2.2, 0, x[second])]
        frames.append(
            sheet(tiles, [Label(0, 0, "real", "below"), Label(2.2, 0, "real", "below")], least=FILM_LEAST)
        )
        durations.append(HOLD if max(cell.weights.values()) == 1 else FRAME)
    frames, durations = frames + frames[-2:0:-1], durations + durations[-2:0:-1]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


def _still(image: Image.Image, suffix: str, receipt: dict[str, Any]) -> bytes:
    kind, options = STILL[suffix]
    if kind == "PNG":
        text = PngInfo()
        text.add_text("latentmix", json.dumps(receipt))
        options = {"pnginfo": text}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
