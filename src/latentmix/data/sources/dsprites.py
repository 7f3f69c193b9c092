"""The original dSprites, read from its published .npz file."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from latentmix.data.decoding.damage import one_line
from latentmix.data.identity import stamp
from latentmix.data.sources import sprites
from latentmix.data.split import Columns, Decoded
from latentmix.data.store import room

ROWS = 4096  # images that are read at a time, 16 MB


@dataclass(frozen=True)
class DSprites:
    """dSprites from its published file, 737,280 binary images of 64x64 pixels; the label is the shape.

    The file is read as a stream, so that only the selected images are held in memory.

    Arguments:
        path: The file dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz.
        images: Number of images to take, at random but the same for every seed.

    References:
        Matthey et al., "dSprites: Disentanglement testing Sprites dataset", 2017.
    """

    name = "dsprites"

    path: str
    images: int = 50_000

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images={self.images}: must be at least 1")

    def read(self, image_size: int) -> Decoded:
        file = self._file()
        try:
            with zipfile.ZipFile(file) as archive:
                with archive.open("latents_classes.npy") as stream:
                    classes = np.lib.format.read_array(stream, allow_pickle=False)
                if self.images > len(classes):
                    raise ValueError(f"images={self.images}: the file holds {len(classes)} images")
                index = np.sort(np.random.RandomState(0).permutation(len(classes))[: self.images])
                with archive.open("imgs.npy") as stream:
                    taken = _take(stream, index, len(classes))
        except Exception as error:  # unpacking damaged bytes may raise anything
            raise ValueError(f"{self.path} cannot be used as dSprites: {one_line(error)}") from error
        images = sprites.shrink(taken * np.uint8(255), image_size)[:, None]
        labels = classes[index, 1].astype(np.int64)  # column 0 is the colour, which is constant
        return Decoded(
            {"train": Columns(images, labels, factors=classes[index, 1:].astype(np.int64))},
            class_names=sprites.SHAPES,
            factor_names=sprites.FACTORS,
        )

    def key(self) -> str:
        file = self._file()
        return stamp(file.parent, [file])

    def _file(self) -> Path:
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f"{self.path}: no such file; data=sprites draws such images instead")
        return file


def _take(stream: IO[bytes], index: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = read_header[version](stream)
    if shape != (count, sprites.SIDE, sprites.SIDE) or fortran or dtype != np.uint8:
        raise ValueError(f"imgs is {dtype} of shape {shape}, and not uint8 of shape ({count}, 64, 64)")
    taken = room((len(index), *shape[1:]))
    size = shape[1] * shape[2]
    for start in range(0, count, ROWS):
        rows = min(ROWS, count - start)
        block = stream.read(rows * size)
        if len(block) < rows * size:
            raise EOFError("the file is cut short")
        first, last = np.searchsorted(index, (start, start + rows))
        images = np.frombuffer(block, np.uint8).reshape(rows, *shape[1:])
        taken[first:last] = images[index[first:last] - start]
    return taken
