"""A trained run in a notebook: it encodes, decodes and mixes images, shows its scores, and draws figures."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import numbers
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from latentmix import runs
from latentmix.apps.own_pictures import Known, adapted, judge, know, suit
from latentmix.apps.paths import MOST, walk
from latentmix.apps.pixels import as_pixels
from latentmix.apps.readers import summary
from latentmix.apps.trained_reader import classifier_of
from latentmix.data import Data, Split
from latentmix.data.given import as_numpy
from latentmix.methods.roles import Autoencodes, Decodes, Encodes, require
from latentmix.metrics import decode, encode, evaluating
from latentmix.mixing import simplex_grid
from latentmix.pictures import figures
from latentmix.pictures.tiles import picture
from latentmix.reports.exhibit import draw
from latentmix.reports.scores import Scores
from latentmix.runs import OpenRun
from latentmix.scoring import data_of


@dataclass(frozen=True, repr=False)
class Trained(OpenRun):
    """A trained run: `OpenRun` with what people do with one in a notebook or a program.

    Arguments:
        place: Where its data are now, if they have moved.
    """

    place: str | None = None

    @classmethod
    def of(cls, run: OpenRun, place: str | None = None) -> Trained:
        """The same run."""
        return cls(**{field.name: getattr(run, field.name) for field in dataclasses.fields(run)}, place=place)

    @cached_property
    def data(self) -> Data:
        """The data that it was trained on, in the same splits, with all labels."""
        return data_of(self, path=self.place)

    @cached_property
    def known(self) -> Known | None:
        """What is usual for the model, measured on its data; None where these are not at hand."""
        try:
            return know(self.method, self.data, classifier=classifier_of(self))
        except (ValueError, OSError):
            return None

    @property
    def scores(self) -> Scores:
        """The scores that are kept in its folder."""
        return Scores.of(self.folder)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The records of its training."""
        return runs.read_log(self.folder)

    def encode(self, images: Any, *, values: tuple[float, float] | None = None) -> Tensor:
        """Encode images: codes (B, *code_shape), float32, on the CPU, without gradients.

        Arguments:
            images: A file, a Pillow image, an array or tensor of one image or several, a split of a data set,
                or a list of images; see `as_pixels`.
            values: The values of black and white in arrays, where they cannot be told.

        Raises:
            ValueError: Another size, number of channels or range, or a method that does not encode.
        """
        method = require(self.method, Encodes, "encoding")
        x = as_pixels(images, self.shape, values)
        with evaluating(self.method):
            h = encode(method, Split(x))
        return h.reshape(-1, *method.code_shape) if isinstance(method, Decodes) else h

    def decode(self, codes: Any) -> Tensor:
        """Decode codes (B, ...) or one code: images (B, C, H, W), about in [-1, 1], on the CPU.

        Raises:
            ValueError: Another number of units, or a method that does not decode.
        """
        method = require(self.method, Decodes, "decoding")
        array = as_numpy(codes)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"codes are of type {array.dtype}; they must be real numbers")
        h, units = torch.as_tensor(array).float(), torch.Size(method.code_shape).numel()
        one = tuple(h.shape) == tuple(method.code_shape)
        if not h.numel() or not (one or (h.ndim > 1 and h[0].numel() == units)):
            raise ValueError(
                f"codes of this run have {units} units, shape {tuple(method.code_shape)}, and these have "
                f"shape {tuple(h.shape)}"
            )
        if not h.isfinite().all():
            raise ValueError("codes hold NaN or infinite values")
        with evaluating(self.method):
            return decode(method, h)

    def mix(
        self,
        images: Any,
        *,
        steps: int = 9,
        path: Literal["lerp", "slerp", "crossover", "learned"] = "lerp",
        values: tuple[float, float] | None = None,
        as_is: bool = False,
    ) -> Image.Image:
        """Draw the walk from each image to the next, or, of three images, the triangle of their mixes.

        Where the run's data are at hand, files and Pillow images that are drawings are adapted to them
        (`own_pictures.suit`), and a warning says how; it also names images that are unlike what the model
        knows, and mixes that may show no class of their parents (`Reader`).

        Arguments:
            images: Two images or more, as for `encode`.
            steps: Number of mixes from one image to the next, both ends included.
            path: Straight line, great circle, crossover of feature maps, or the method's learned mixing
                function; of three images only a straight line makes a triangle.
            values: As for `encode`.
            as_is: Leave drawings unchanged.

        Raises:
            ValueError: Fewer than two images, an unknown path, fewer than two steps, or as for `encode`.
        """
        method = require(self.method, Autoencodes, "mixing")
        way = walk(method, path)
        steps = _whole(steps)
        x, remarks = self._suited(images, values, as_is)
        if len(x) < 2:
            raise ValueError(f"mixing takes at least 2 images, got {len(x)}")
        triangle = len(x) == 3 and path == "lerp"
        cells = steps * (steps + 1) // 2 if triangle else steps * (len(x) - 1)
        if cells > MOST:
            raise ValueError(f"steps={steps} makes a picture of {cells:,} mixes; at most {MOST:,} are drawn")
        if triangle:
            mixes = figures.simplex_mixes(method, x, steps)
            used = [row.nonzero()[:, 0].tolist() for row in simplex_grid(3, steps)]
            self._warn_of(x, mixes, used, remarks)
            return figures.triangle(mixes, x)
        h = self.encode(x, values=(-1, 1))
        with evaluating(self.method):
            walks = way(h[:-1], h[1:], torch.linspace(0, 1, steps))
        mixes = self.decode(walks.flatten(0, 1))
        legs = [[[i], *[[i, i + 1]] * (steps - 2), [i + 1]] for i in range(len(x) - 1)]
        self._warn_of(x, mixes, [rows for leg in legs for rows in leg], remarks)
        mixes = mixes.unflatten(0, (len(x) - 1, steps))
        return figures.interpolations({self.method.label: mixes}, ends=torch.stack([x[:-1], x[1:]], 1))

    def _suited(
        self, images: Any, values: tuple[float, float] | None, as_is: bool
    ) -> tuple[Tensor, list[str]]:
        """Images to mix, (B, C, H, W) in [-1, 1], and what was done to drawings among the pictures."""
        drawings = None if as_is or self.known is None else self.known.drawings
        remarks = []

        def fitting(image: Image.Image, size: int, name: str) -> Image.Image:
            made, done = suit(image, size, drawings)
            if done:
                remarks.append(adapted(name, done, "as_is=True"))
            return made

        return as_pixels(images, self.shape, values, fitting), remarks

    def _warn_of(self, x: Tensor, mixes: Tensor, used: list[list[int]], remarks: list[str]) -> None:
        """Warn of adapted parents, of those that the model does not know, and of mixes in doubt."""
        if self.known is None:
            return
        likeness = judge(self.method, x, self.known)
        lines = remarks + [
            f"image {i} is unlike what the model knows: {how.unlike}"
            for i, how in enumerate(likeness, 1)
            if how.unlike
        ]
        if self.known.reader is not None:
            read = self.known.reader.read(mixes, [how.votes for how in likeness], used)
            lines += summary(
                [(f"mix {n + 1}", doubt) for n, (_, doubt) in enumerate(read) if doubt], len(mixes)
            )
        if lines:
            warnings.warn("\n".join(lines), stacklevel=3)

    def pictures(self, images: Any, *, values: tuple[float, float] | None = None) -> list[Image.Image]:
        """Images or decoded codes as Pillow images, one for each; values outside [-1, 1] are clamped."""
        x = images if isinstance(images, Tensor) and images.shape[1:] == self.shape else None
        return [picture(each) for each in (as_pixels(images, self.shape, values) if x is None else x)]

    def figure(self, name: str, others: Sequence[OpenRun] = (), *, seed: int = 0) -> Image.Image:
        """Draw a figure of its report, such as "interpolations", from test images.

        Arguments:
            name: "interpolations", "bernoulli", "triangle", "reconstructions" or "learning_curves".
            others: Runs on the same data that are shown above this one.
            seed: Seed that chooses the test images.

        Raises:
            ValueError: A figure that this method does not have.
        """
        return draw(name, [*others, self], self.data if name != "learning_curves" else None, seed)

    @property
    def title(self) -> str:
        """What was trained, on which data."""
        data = self.config["data"]
        return f"{self.method.label} on {Path(data['path']).name if 'path' in data else data['name']}"

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"{self.title}: weights of {self.which}, images of {size}, folder {self.folder}"

    def _repr_html_(self) -> str:
        """Title, settings, scores, and the picture of its mixes where the report has drawn one."""
        length = "steps" if self.config.get("steps") else "epochs"
        facts = {
            "weights": self.which,
            "images": " × ".join(map(str, self.shape)),
            length: self.config[length],
            "seed": self.config["seed"],
            "folder": self.folder,
        }
        rows = "".join(f"<tr><th>{k}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
        drawn = self.folder / "figures" / "interpolations.png"
        shown = ""
        if drawn.is_file():
            data, small = io.BytesIO(), Image.open(drawn).convert("P", palette=Image.Palette.ADAPTIVE)
            small.save(data, "PNG")
            text = base64.b64encode(data.getvalue()).decode()
            shown = f"<img src='data:image/png;base64,{text}' alt='mixes' style='max-width:100%'/>"
        scores = self.scores
        table = scores._repr_html_() if scores else "<p>No scores yet.</p>"
        return f"<h4>{escape(self.title)}</h4><table>{rows}</table>{table}{shown}"


def _whole(steps: Any) -> int:
    """The number of images on a path.

    Raises:
        ValueError: Not a whole number of 2 or more.
    """
    number = float(steps) if isinstance(steps, numbers.Real) and not isinstance(steps, bool) else math.nan
    if not (number >= 2 and number % 1 == 0):
        raise ValueError(f"steps={steps}: give a whole number of 2 or more; both ends of a path are included")
    return int(number)
