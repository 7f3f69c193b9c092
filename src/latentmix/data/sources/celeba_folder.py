"""CelebA from a local copy, in the layout of its authors or of Kaggle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentmix.data.decoding.images import decode, describe, settle
from latentmix.data.identity import stamp
from latentmix.data.split import SPLITS, Columns, Decoded

IMAGES, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba", "list_eval_partition"
PLACES = (".", "Img", "Anno", "Eval", IMAGES)
LABEL = "Male"


@dataclass(frozen=True)
class CelebAFolder:
    """A local copy of CelebA: aligned faces, 40 binary attributes, the official splits; the label is `Male`.

    `img_align_celeba/`, `list_attr_celeba` and `list_eval_partition` are in the folder (or in its Img/, Anno/
    and Eval/). The lists are .txt files, as published by the authors, or .csv files, as on Kaggle, where the
    folder of images contains another one of the same name. Of the faces of 178x218 pixels, the central
    178x178 are kept, as in AMR.

    Arguments:
        path: The folder.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.

    References:
        Liu et al., "Deep learning face attributes in the wild", ICCV 2015.
    """

    name = "celeba_folder"

    path: str
    skip_bad: bool = False

    @staticmethod
    def fits(path: str | Path) -> bool:
        """Return whether `path` contains a list of CelebA's attributes in one of the published places."""
        return _list(Path(path).expanduser(), ATTRIBUTES) is not None

    def read(self, image_size: int) -> Decoded:
        files, split_of, attributes, names = self._listed()
        rows = {split: np.flatnonzero(split_of == i) for i, split in enumerate(SPLITS)}
        rows = {split: found for split, found in rows.items() if len(found)}
        if "train" not in rows:
            raise ValueError(f"{self.path}: {PARTITION} has no training image (0)")
        parts = settle(
            {
                split: decode(((files[i].name, files[i]) for i in found), len(found), image_size)
                for split, found in rows.items()
            },
            skip_bad=self.skip_bad,
            where=self.path,
        )
        splits = {}
        for split, part in parts.items():
            known = attributes[rows[split][part.kept]]
            splits[split] = Columns(part.images, known[:, names.index(LABEL)].astype(np.int64), known)
        more = len(list(self._images().iterdir())) - len(files)
        left_out = [f"{more:,} files of {IMAGES}/ that the lists do not name"] if more else []
        return Decoded(splits, (f"not {LABEL}", LABEL), names, found=describe(parts.values(), *left_out))

    def key(self) -> str:
        images = sorted(self._images().iterdir(), key=lambda file: file.name)
        return stamp(self._root(), [*self._lists(), *(file for file in images if file.is_file())])

    def _root(self) -> Path:
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder")
        return root

    def _lists(self) -> tuple[Path, Path]:
        found = []
        for name in (ATTRIBUTES, PARTITION):
            if (file := _list(self._root(), name)) is None:
                raise FileNotFoundError(
                    f"{self.path} has no {name}.txt or {name}.csv (nor have its Anno/ and Eval/); "
                    f"CelebA is {IMAGES}/, {ATTRIBUTES} and {PARTITION}"
                )
            found.append(file)
        return found[0], found[1]

    def _listed(self) -> tuple[list[Path], NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
        """Return N files, their splits (N,) as positions in `SPLITS`, their attributes (N, A) and A names."""
        attribute_list, partition_list = self._lists()
        images, names, values = _table(attribute_list, {"-1": 0, "1": 1})
        others, _, splits = _table(partition_list, {"0": 0, "1": 1, "2": 2})
        if LABEL not in names:
            raise ValueError(f"{attribute_list} has no attribute {LABEL}; it has {', '.join(names)}")
        if odd := sorted(set(images) ^ set(others)):
            raise ValueError(
                f"{self.path}: {attribute_list.name} and {partition_list.name} must list the same images, "
                f"but {len(odd)} are in one of them only, the first being {odd[0]}"
            )
        position = {name: i for i, name in enumerate(others)}
        folder = self._images()
        there = {file.name for file in folder.iterdir()}
        if gone := [name for name in images if name not in there]:
            raise FileNotFoundError(
                f"{folder} lacks {len(gone)} of the {len(images)} images that {attribute_list.name} lists, "
                f"the first being {gone[0]}; unpack {IMAGES}.zip again, or shorten both lists"
            )
        return [folder / name for name in images], splits[[position[n] for n in images], 0], values, names

    def _images(self) -> Path:
        root = self._root()
        for place in (".", "Img"):
            folder = root / place / IMAGES
            if folder.is_dir():
                return folder / IMAGES if (folder / IMAGES).is_dir() else folder
        raise FileNotFoundError(f"{self.path} has no folder {IMAGES}/ (nor has its Img/)")


def _list(root: Path, name: str) -> Path | None:
    files = (root / place / f"{name}{suffix}" for place in PLACES for suffix in (".txt", ".csv"))
    return next((file for file in files if file.is_file()), None)


def _table(file: Path, meaning: dict[str, int]) -> tuple[list[str], tuple[str, ...], NDArray[np.uint8]]:
    """Read a list with one row per image: N image names, A column names, and values of shape (N, A).

    A .csv begins with its column names. So does a .txt, after a line with N, if it has more than one column.

    Arguments:
        meaning: The number that is stored for each value in the list.
    """
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    separator = "," if file.suffix == ".csv" else None
    head = [line.split(separator) for _, line in lines[:2]]
    names: tuple[str, ...] = ("partition",)
    promised, start = None, 0
    if separator and head:
        names, start = tuple(head[0][1:]), 1
    elif len(head) == 2 and len(head[0]) == 1:
        promised, names, start = head[0][0], tuple(head[1]), 2
    found: dict[str, bytes] = {}
    for n, line in lines[start:]:
        image, *row = line.split(separator)
        known = [meaning[value] for value in row if value in meaning]
        if len(known) < len(row) or len(row) != len(names):
            raise ValueError(
                f"{file}, line {n}: {image} needs {len(names)} values out of {', '.join(meaning)}, "
                f"it has {len(row)}: {' '.join(row[:5])}{' ...' * (len(row) > 5)}"
            )
        if image in found:
            raise ValueError(f"{file}, line {n}: {image} is listed twice")
        found[image] = bytes(known)
    if not found:
        raise ValueError(f"{file} lists no images")
    if promised not in (None, str(len(found))):
        raise ValueError(f"{file} lists {len(found)} images, but promises {promised}; download it again")
    values = np.frombuffer(b"".join(found.values()), np.uint8).reshape(len(found), len(names))
    return list(found), names, values
