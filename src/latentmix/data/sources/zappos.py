"""UT-Zappos50K from a local copy, in the layout of its authors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from latentmix.data.decoding.images import decode, describe, settle
from latentmix.data.decoding.labels import class_indices
from latentmix.data.decoding.walk import EXTENSIONS
from latentmix.data.identity import stamp
from latentmix.data.split import Columns, Decoded

SQUARE, ORIGINAL = "ut-zap50k-images-square", "ut-zap50k-images"
HELD_OUT = 2_000  # images that AMR's published code validates on
CATEGORIES = ("Boots", "Sandals", "Shoes", "Slippers")


@dataclass(frozen=True)
class Zappos:
    """A local copy of UT-Zappos50K: 50,025 shoes on white; the label is boots, sandals, shoes or slippers.

    Images are in Category/SubCategory/Brand/, as published. AMR used the square images, 136x136, at 64
    pixels, and at 128 pixels for its "Zappos-HQ". The other images are 136x102, and a square cropped from
    their middle lacks toe and heel.

    Arguments:
        path: `ut-zap50k-images-square`, `ut-zap50k-images`, or the folder that contains them; if both are
            there, the square images are used.
        label: The category, or the category with its subcategory (21 classes), as in AMR's `zappos_cls`.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.
        published: Whether the images are split as in AMR's published code: the last 2,000 of a fixed
            permutation are validation and test images alike, and it trains on all others.

    References:
        Yu and Grauman, "Fine-grained visual comparisons with local learning", CVPR 2014.
    """

    path: str
    label: Literal["category", "subcategory"] = "category"
    skip_bad: bool = False
    published: bool = False

    @staticmethod
    def fits(path: str | Path) -> bool:
        """Return whether `path` is, or contains, a folder with a published name and a published category."""
        root = Path(path).expanduser()
        found = _images(root)
        return found is not None and found.name in (SQUARE, ORIGINAL)

    def read(self, image_size: int) -> Decoded:
        root, files = self._files()
        depth = 1 if self.label == "category" else 2
        named = np.array(["-".join(file.relative_to(root).parts[:depth]) for file in files])
        pixels = decode(((f.relative_to(root).as_posix(), f) for f in files), len(files), image_size)
        part = settle({"train": pixels}, skip_bad=self.skip_bad, where=self.path)["train"]
        of_split, names = class_indices({"train": named[part.kept]})
        images, labels = part.images, of_split["train"]
        splits = {"train": Columns(images, labels)}
        if self.published:
            if len(images) <= HELD_OUT:
                raise ValueError(f"published=true holds {HELD_OUT:,} images out, and there are {len(images)}")
            order = np.random.RandomState(0).permutation(len(images))
            train, held = order[:-HELD_OUT], order[-HELD_OUT:]
            splits = {"train": Columns(images[train], labels[train])}
            splits |= {split: Columns(images[held], labels[held]) for split in ("valid", "test")}
        return Decoded(splits, names, found=describe([part]))

    def key(self) -> str:
        root, files = self._files()
        return stamp(root, files)

    def _files(self) -> tuple[Path, list[Path]]:
        """Return the folder of images and its images, sorted."""
        given = Path(self.path).expanduser()
        if not given.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder")
        root = _images(given)
        if root is None:
            raise FileNotFoundError(
                f"{self.path} holds none of {', '.join(CATEGORIES)}; "
                f"give {SQUARE} or {ORIGINAL}, or the folder that holds it"
            )
        inside = (root / category for category in CATEGORIES)
        files = sorted(f for folder in inside for f in folder.rglob("*") if f.suffix.lower() in EXTENSIONS)
        files = [f for f in files if not f.name.startswith(".")]
        if not files:
            raise ValueError(f"{root} holds no images")
        for file in files:
            if len(file.relative_to(root).parts) != 4:
                where = file.relative_to(root).as_posix()
                raise ValueError(f"{root}: {where} is not in a folder Category/SubCategory/Brand/")
        return root, files


def _images(given: Path) -> Path | None:
    places = (given / SQUARE, given / ORIGINAL, given)
    return next((p for p in places if any((p / category).is_dir() for category in CATEGORIES)), None)
