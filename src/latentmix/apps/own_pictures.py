"""Pictures that are not from the training set: adapted to it where that is plain, and judged against it.

Distances between pictures x and y are shares of the range from black to white: sqrt(mean((x - y)^2)) / 2 for
pixels in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentmix.apps.neighbours import neighbours
from latentmix.apps.readers import Reader
from latentmix.apps.trained_reader import Reading, trained_reader
from latentmix.data import Data
from latentmix.data.decoding.images import fit
from latentmix.methods.portions import at_once, in_portions
from latentmix.methods.roles import Autoencodes, require
from latentmix.metrics import decode

STEP = 38  # grey levels, 15 % of the range: what differs from the background by more is ink
SAME = 0.8  # share of the border that has to be background
INK = 0.35  # share of the ink's contrast from which on a pixel belongs to the drawing
FAINT = 0.6  # share of the usual contrast below which contrast is stretched
BLURS = 12  # at most, of one pixel each
LARGE = 512  # pixels; larger pictures are reduced before they are examined
BLANK = 0.5  # share of the contrast of faint test images (1st percentile) below which a picture shows nothing
TESTED = 250  # test images that set what is usual; fewer where the network is large:
PORTIONS = 16  # as many as it computes in so many portions (`at_once`)
REMEMBERED, NUMBERS = 5000, 40_000_000  # training images searched for the nearest, and their pixels, at most


@dataclass(frozen=True)
class Drawings:
    """What drawings on a plain background have in common, in a data set of grey images.

    Arguments:
        background, ink: Grey levels, 0 to 255.
        side: 1st percentile, median and 99th percentile of the longer side of the drawing's box, as a share
            of the picture's side.
        centre: Median place of the box's centre, (x, y), as shares of the side.
        wander: 99th percentile of a centre's distance from it along one axis.
        sharpness: Median and 99th percentile of the squared differences of neighbours over the squared
            differences from the background.
    """

    background: float
    ink: float
    side: tuple[float, float, float]
    centre: tuple[float, float]
    wander: float
    sharpness: tuple[float, float]


@dataclass(frozen=True)
class Known:
    """What is usual for a model: measured on its own test images.

    Arguments:
        training: Training images that distances are measured to, (M, C, H, W), uint8.
        of: Number of training images that they were taken from.
        error: Median and 99th percentile of the test images' reconstruction error.
        nearest: Median and 99th percentile of their distance to the nearest of `training`.
        contrast: Median and 1st percentile of their contrast.
        drawings: What the data have in common, if they are drawings on a plain background.
        reader: Reads the class of a picture; None without labels, or where classes are often misread.
    """

    training: Tensor
    of: int
    error: tuple[float, float]
    nearest: tuple[float, float]
    contrast: tuple[float, float]
    drawings: Drawings | None
    reader: Reader | None


class Likeness(NamedTuple):
    """How a model takes one picture.

    Arguments:
        error: Distance from the picture to its reconstruction.
        nearest: Distance to the nearest training image.
        unlike: Why the picture is unlike what the model knows; empty where it is not.
        reads_as: Its class; empty where no class is read, and for a blank picture, which shows none.
        votes: For each class, (classes,); None where `reads_as` is empty.
    """

    error: float
    nearest: float
    unlike: str
    reads_as: str
    votes: Tensor | None

    @property
    def account(self) -> dict[str, float | str]:
        """What a receipt says of the picture."""
        return {name: value for name, value in self._asdict().items() if name != "votes"}


def know(method: Any, data: Data, remembered: int | None = None, classifier: Reading | None = None) -> Known:
    """Measure what is usual for a model.

    Arguments:
        remembered: Maximum number of training images to keep, evenly spaced; by default 5000, and fewer where
            they are large.
        classifier: Reads classes, if the run has one (`trained_reader.classifier_of`); else neighbours vote.

    Raises:
        ValueError: A method that does not encode and decode.
    """
    if remembered is None:
        remembered = max(1, min(REMEMBERED, NUMBERS // math.prod(data.shape)))
    autoencoder = require(method, Autoencodes, "mixing")
    tested = min(TESTED, PORTIONS * at_once(method, "encode", data.test.pixels(slice(2)).cpu()))
    kept, rows = _spread(len(data.train), remembered), _spread(len(data.test), tested)
    training = data.train.images.cpu()[kept]
    x = as_pixels(data.test.images.cpu()[rows])
    rebuilt = reconstruct(autoencoder, x)
    return Known(
        training,
        len(data.train),
        _usual(distance(x, rebuilt)),
        _usual(nearest(x, as_pixels(training))),
        _usual(contrast(x), 0.01),
        drawings_of(training[:1000].numpy()) if training.shape[1] == 1 else None,
        _reader(training, kept, data, rebuilt, rows, classifier),
    )


def judge(method: Any, x: Tensor, known: Known) -> list[Likeness]:
    """Compare pictures (N, C, H, W) in [-1, 1] with what is usual for the model's test images."""
    errors = distance(x, reconstruct(method, x)).tolist()
    away = nearest(x, as_pixels(known.training)).tolist()
    contrasts = contrast(x).tolist()
    votes = [None] * len(x) if known.reader is None else known.reader.votes(x)
    return [_likeness(e, d, c, v, known) for e, d, c, v in zip(errors, away, contrasts, votes, strict=True)]


def suit(image: Image.Image, size: int, drawings: Drawings | None) -> tuple[Image.Image, list[str]]:
    """Bring a picture to `size` x `size` pixels, and a drawing to the colours, size and place of the data.

    A drawing on a plain background is inverted where the data are light on dark and it is not (or the other
    way round), its contrast is stretched where it is faint, it is cut out and centred where its size or place
    is unusual, and softened where it is sharper than the data; thin strokes that fade as the picture gets
    smaller are strengthened. A picture that is like the data already, or is no drawing, is only resized.

    Returns:
        The picture, mode L where `drawings` are given, and what was done, in words.
    """
    if drawings is None:
        return fit(image, size), []
    grey = image.convert("L")
    if max(grey.size) > LARGE:
        ratio = LARGE / max(grey.size)
        extent = (max(1, round(grey.width * ratio)), max(1, round(grey.height * ratio)))
        grey = grey.resize(extent, Image.Resampling.BILINEAR)
    pixels = np.asarray(grey, dtype=np.float64)
    found = _examine(pixels)
    if found is None:
        return fit(grey, size), []
    background, ink = found
    done = []
    usual = drawings.ink - drawings.background
    inverted = (ink - background) * usual < 0
    faint = abs(ink - background) < FAINT * abs(usual)
    if inverted or faint or abs(background - drawings.background) > STEP:
        share = np.clip((pixels - background) / (ink - background), 0, 1)
        pixels = np.clip(drawings.background + share * usual, 0, 255)
        done.append("inverted" if inverted else "contrast stretched")
        background, ink = drawings.background, drawings.ink
    left, top, right, bottom = _box(pixels, background, ink)
    height, width = pixels.shape
    middle, longer = ((left + right) / 2, (top + bottom) / 2), max(right - left, bottom - top)
    side, low, high = min(width, height), drawings.side[0] - 0.06, drawings.side[2] + 0.06
    offset = [m - (n - side) / 2 for m, n in zip(middle, (width, height))]
    astray = max(abs(o / side - c) for o, c in zip(offset, drawings.centre)) > drawings.wander + 0.04
    cut = side < max(width, height) and (longer > side or astray)
    if cut or astray or not low <= longer / side <= high:
        side_of_cut = longer / drawings.side[1]
        corner = [m - c * side_of_cut for m, c in zip(middle, drawings.centre)]
        pixels = _window(pixels, corner[0], corner[1], side_of_cut, background)
        done.append("cut out and centred")
    small = np.asarray(fit(Image.fromarray(np.rint(pixels).astype(np.uint8)), size), dtype=np.float64)
    soft = _softened(small, drawings)
    if soft is not None:
        small, done = soft, [*done, "softened"]
    strong = None if image.size == (size, size) else _strengthened(small, drawings)
    if strong is not None:
        small, done = strong, [*done, "strengthened"]
    return Image.fromarray(np.rint(small).astype(np.uint8)), done


def adapted(name: str, done: Sequence[str], otherwise: str) -> str:
    """Tell a person what `suit` did to a picture, and how to have it left alone."""
    return f"{name} was {', '.join(done)} to look like the training images; {otherwise} leaves it unchanged"


def drawings_of(images: NDArray[np.uint8]) -> Drawings | None:
    """What grey images (N, 1, S, S) have in common as drawings; None where 1 in 10 are no drawings."""
    size = images.shape[-1]
    rows = []
    for image in images[:, 0].astype(np.float64):
        found = _examine(image)
        if found is not None:
            left, top, right, bottom = _box(image, *found)
            longer = max(right - left, bottom - top)
            centre = ((left + right) / 2 / size, (top + bottom) / 2 / size)
            rows.append((*found, longer / size, *centre, _sharpness(image, found[0])))
    if len(rows) < 0.9 * len(images):
        return None
    table = np.array(rows)
    background, ink = np.median(table[:, 0]), np.median(table[:, 1])
    alike = np.abs(table[:, 0] - background) <= STEP
    if alike.mean() < 0.9:
        return None
    side = np.percentile(table[:, 2], [1, 50, 99])
    middle = np.median(table[:, 3:5], axis=0)
    wander = np.percentile(np.abs(table[:, 3:5] - middle), 99)
    sharpness = np.percentile(table[:, 5], [50, 99])
    return Drawings(
        float(background),
        float(ink),
        (float(side[0]), float(side[1]), float(side[2])),
        (float(middle[0]), float(middle[1])),
        float(wander),
        (float(sharpness[0]), float(sharpness[1])),
    )


def distance(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(mean((x - y)^2)) / 2 of each pair of pictures (N, ...) in [-1, 1]: shape (N,), in 0..1."""
    return (x - y).flatten(1).square().mean(1).sqrt() / 2


def nearest(x: Tensor, others: Tensor) -> Tensor:
    """Distance of each picture (N, C, H, W) to the nearest of others (M, C, H, W): shape (N,), in 0..1."""
    a, b = x.flatten(1), others.flatten(1)
    return torch.cat([torch.cdist(part, b).min(1).values for part in a.split(100)]) / a.shape[1] ** 0.5 / 2


def contrast(x: Tensor) -> Tensor:
    """Deviation of the pixels of each picture (N, C, H, W) in [-1, 1] from the mean of their channel.

    Returns:
        Shape (N,), shares of the range from black to white, 0 to 0.5; 0 for a blank picture.
    """
    return x.flatten(2).var(2, correction=0).mean(1).sqrt() / 2


@torch.no_grad()
def reconstruct(method: Any, x: Tensor) -> Tensor:
    """g(f(x)) for pictures (N, C, H, W), clipped to [-1, 1], on the CPU."""
    return decode(method, in_portions(method, "encode", x)).clamp(-1, 1)


def as_pixels(images: Tensor) -> Tensor:
    """uint8 images to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def _reader(
    training: Tensor, kept: Tensor, data: Data, rebuilt: Tensor, rows: Tensor, classifier: Reading | None
) -> Reader | None:
    """What reads classes: measured on reconstructed test images, whose rows are given."""
    names = tuple(data.class_names)
    if data.train.labels is None or data.test.labels is None or len(names) < 2:
        return None
    truth = data.test.labels.cpu()[rows]
    rebuilt, truth = rebuilt[truth >= 0], truth[truth >= 0]
    if not len(truth):
        return None
    if classifier is not None:
        return trained_reader(classifier, names, rebuilt, truth)
    return neighbours(training, data.train.labels.cpu()[kept], names, rebuilt, truth)


def _likeness(error: float, away: float, deviation: float, votes: Tensor | None, known: Known) -> Likeness:
    unlike = _unlike(error, away, deviation, known)
    if votes is None or known.reader is None or _blank(deviation, known):
        return Likeness(error, away, unlike, "", None)
    return Likeness(error, away, unlike, known.reader.names[int(votes.argmax())], votes)


def _blank(deviation: float, known: Known) -> bool:
    return deviation < BLANK * known.contrast[1]


def _unlike(error: float, away: float, deviation: float, known: Known) -> str:
    if _blank(deviation, known):
        return (
            f"it is blank or nearly so: its pixels deviate from their mean by {100 * deviation:.1f} % of the "
            f"range (test images: {100 * known.contrast[0]:.1f} %, 99 in 100 by more than "
            f"{100 * known.contrast[1]:.1f} %)"
        )
    if error > known.error[1]:
        return (
            f"its reconstruction is off by {100 * error:.1f} % of the pixel range "
            f"(test images: {100 * known.error[0]:.1f} %, 99 in 100 below {100 * known.error[1]:.1f} %)"
        )
    if away > known.nearest[1]:
        return (
            f"it is {100 * away:.1f} % of the pixel range away from the nearest training image "
            f"(test images: {100 * known.nearest[0]:.1f} %, 99 in 100 below {100 * known.nearest[1]:.1f} %)"
        )
    return ""


def _usual(values: Tensor, share: float = 0.99) -> tuple[float, float]:
    return float(values.quantile(0.5)), float(values.quantile(share))


def _spread(images: int, count: int) -> Tensor:
    """At most `count` of so many images, evenly spaced: their rows."""
    return torch.arange(images) if images <= count else torch.linspace(0, images - 1, count).long()


def _examine(pixels: NDArray[np.float64]) -> tuple[float, float] | None:
    """Grey levels of background and ink of a drawing (H, W), or None for no drawing."""
    height, width = pixels.shape
    edge = max(1, min(height, width) // 20)
    ring = np.ones(pixels.shape, bool)
    ring[edge : height - edge, edge : width - edge] = False
    border = pixels[ring]
    background = float(np.median(border))
    if (np.abs(border - background) <= STEP).mean() < SAME:
        return None
    away = pixels - background
    sign = 1 if away[away > STEP].sum() >= -away[away < -STEP].sum() else -1
    strokes = sign * away[sign * away > STEP]
    if not len(strokes):
        return None
    return background, background + sign * float(np.percentile(strokes, 90))


def _box(pixels: NDArray[np.float64], background: float, ink: float) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the drawing, in pixels; right and bottom are exclusive."""
    inked = (pixels - background) / (ink - background) > INK
    columns, rows = np.flatnonzero(inked.any(0)), np.flatnonzero(inked.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _sharpness(x: NDArray[np.float64], background: float) -> float:
    steps = np.square(np.diff(x, axis=0)).sum() + np.square(np.diff(x, axis=1)).sum()
    return float(steps / max(1.0, np.square(x - background).sum()))


def _strengthened(x: NDArray[np.float64], drawings: Drawings) -> NDArray[np.float64] | None:
    """Give a faint drawing the data's contrast; None if it has it."""
    found, usual = _examine(x), drawings.ink - drawings.background
    if found is None or abs(found[1] - found[0]) >= FAINT * abs(usual):
        return None
    return np.rint(np.clip(drawings.background + (x - found[0]) / (found[1] - found[0]) * usual, 0, 255))


def _softened(x: NDArray[np.float64], drawings: Drawings) -> NDArray[np.float64] | None:
    """Blur a drawing that is sharper than 99 in 100 of the data down to their median; None if it is not."""
    if _sharpness(x, drawings.background) <= drawings.sharpness[1] * 1.02:
        return None
    for _ in range(BLURS):
        x = np.pad(x, 1, mode="edge")
        x = (x[:-2] + 2 * x[1:-1] + x[2:]) / 4
        x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
        if _sharpness(x, drawings.background) <= drawings.sharpness[0]:
            break
    found = _examine(x)
    if found is not None:
        share = (x - found[0]) / (found[1] - found[0])
        x = drawings.background + share * (drawings.ink - drawings.background)
    return np.rint(np.clip(x, 0, 255))


def _window(
    pixels: NDArray[np.float64], left: float, top: float, side: float, background: float
) -> NDArray[np.float64]:
    """A square of the picture, to the pixel, with background beyond its edges."""
    n, x, y = max(1, round(side)), round(left), round(top)
    window = np.full((n, n), background)
    height, width = pixels.shape
    rows, columns = slice(max(y, 0), min(y + n, height)), slice(max(x, 0), min(x + n, width))
    window[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = pixels[rows, columns]
    return window
