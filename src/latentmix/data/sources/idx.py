"""Images in MNIST's own format: *-images-idx3-ubyte and *-labels-idx1-ubyte, compressed or not."""

from __future__ import annotations

import gzip
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from latentmix.data.decoding.arrays import Array, decode_arrays
from latentmix.data.decoding.damage import DEFLATE, guarded
from latentmix.data.decoding.layout import read_name
from latentmix.data.decoding.walk import files_below
from latentmix.data.identity import stamp
from latentmix.data.split import Decoded

_NAME = re.compile(r"(.*?)[-_.]?(images?|labels?)[-_.]idx[13][-_.]ubyte(\.gz)?", re.IGNORECASE)


@dataclass(frozen=True)
class Idx:
    """Files in the format in which MNIST, Fashion-MNIST and KMNIST are published.

    Examples are train-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte; they contain uint8 and may be
    compressed. torchvision keeps such files in `raw/`.

    Arguments:
        path: The folder that contains the files, directly or in folders below it.
    """

    path: str

    @staticmethod
    def fits(files: list[Path]) -> bool:
        """Return whether there are images of this format among the files."""
        return any((m := _NAME.fullmatch(f.name)) and m[2].lower().startswith("image") for f in files)

    def read(self, image_size: int) -> Decoded:
        def work() -> Decoded:
            return decode_arrays({name: _array(file) for name, file in self._files().items()}, image_size)

        return guarded(self.path, work)

    def key(self) -> str:
        files = list(self._files().values())
        return stamp(files[0].parent, files)

    def _files(self) -> dict[str, Path]:
        """Return {"train_images": file, ...}; an uncompressed file is preferred to its compressed copy."""
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder")
        found: dict[str, Path] = {}
        stems = set()
        for file in files_below(root):
            match = _NAME.fullmatch(file.name)
            if match is None:
                continue
            named = read_name(match[1].lower().replace("t10k", "test"))
            stems.add((file.parent, named.rest))
            name = f"{named.word or 'train'}_{match[2].lower().rstrip('s')}s"
            if name not in found or found[name].suffix == ".gz":
                found[name] = file
        if len(stems) > 1:
            names = ", ".join(sorted({"-".join(rest) or str(folder) for folder, rest in stems})[:5])
            raise ValueError(f"{self.path} holds several data sets, {names}; give the folder of one")
        if not found:
            raise FileNotFoundError(f"{self.path} holds no *-images-idx3-ubyte")
        return found


def _array(file: Path) -> Array:
    def opened() -> IO[bytes]:
        with file.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        return gzip.open(file) if packed else file.open("rb")  # type: ignore[return-value]

    with opened() as stream:
        head = stream.read(4)
        if len(head) < 4 or head[:3] != b"\0\0\x08" or head[3] not in (1, 3):
            raise ValueError(f"{file.name} does not begin like a file of bytes in MNIST's format")
        sizes = stream.read(4 * head[3])
        shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4")) if len(sizes) == 4 * head[3] else ()
    size, stored = math.prod(shape) + 4 + 4 * head[3], file.stat().st_size
    if not shape or size > DEFLATE * stored + 1024:
        raise ValueError(f"{file.name} is cut short: shape {shape} in {stored:,} bytes")

    def after_head() -> IO[bytes]:
        stream = opened()
        stream.read(4 + 4 * head[3])
        return stream

    return Array(shape, np.dtype(np.uint8), after_head)
