"""Images in NumPy's formats: .npz files, .npy files, and folders of .npy files."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from latentmix.data.decoding.arrays import Array, decode_arrays
from latentmix.data.decoding.damage import DEFLATE, check_zip, guarded
from latentmix.data.identity import stamp
from latentmix.data.split import Decoded


@dataclass(frozen=True)
class Npz:
    """An .npz file with an array `images` (or `data`, `x`) and optionally `labels` (or `label`, `y`).

    Splits are arrays such as `x_train` and `y_train` (Keras), or `test_images` and `test_labels` (MedMNIST).
    Images have shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, and are uint8, booleans, or
    floating point in [0, 1]. Labels are integers or text of shape (N,) or (N, 1), or one-hot of shape (N, C);
    -1 means that an image has no label. If rows of 0 and 1 contain several ones, they are attributes. Nothing
    is ever unpickled.

    Arguments:
        path: The file.
    """

    path: str

    def read(self, image_size: int) -> Decoded:
        file = self._file()

        def work() -> Decoded:
            with zipfile.ZipFile(file) as archive:
                check_zip(archive)
                members = {info.filename: info for info in archive.infolist()}
                arrays = {
                    name.removesuffix(".npy"): _member(archive, info)
                    for name, info in members.items()
                    if name.endswith(".npy")
                }
                return decode_arrays(arrays, image_size)

        if not zipfile.is_zipfile(file):
            with file.open("rb") as stream:
                if stream.read(6) == b"\x93NUMPY":
                    raise ValueError(f"{self.path} cannot be used: it is a single array; rename it to .npy")
        return guarded(self.path, work)

    def key(self) -> str:
        file = self._file()
        return stamp(file.parent, [file])

    def _file(self) -> Path:
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        return file


@dataclass(frozen=True)
class Npy:
    """An .npy file of images, or a folder of .npy files that are named like the arrays in an .npz file.

    Arguments:
        path: The file or folder.
    """

    path: str

    def read(self, image_size: int) -> Decoded:
        files = self._files()

        def work() -> Decoded:
            arrays = {name: _array(file.open, file.stat().st_size) for name, file in files.items()}
            return decode_arrays(arrays, image_size)

        return guarded(self.path, work)

    def key(self) -> str:
        files = list(self._files().values())
        return stamp(files[0].parent, files)

    def _files(self) -> dict[str, Path]:
        given = Path(self.path).expanduser()
        if given.is_file():
            return {"images": given}
        found = {file.stem: file for file in sorted(given.glob("*.npy"))}
        if not found:
            raise FileNotFoundError(f"{self.path}: no such file, or no .npy file in it")
        return found


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    if info.compress_type == zipfile.ZIP_DEFLATED and info.file_size > DEFLATE * info.compress_size + 1024:
        raise ValueError(f"{info.filename} says that it holds {info.file_size:,} bytes, more than it can")

    def opened(mode: str = "rb") -> IO[bytes]:
        return archive.open(info)

    return _array(opened, info.file_size)


def _array(opened: Callable[[str], IO[bytes]], size: int) -> Array:
    """Describe an array in NumPy's format, in a stream that can be opened several times."""
    with opened("rb") as stream:
        shape, fortran, dtype = _head(stream)
        start = stream.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled; store plain numbers")
    if math.prod(shape) * dtype.itemsize != size - start:
        raise ValueError(
            f"an array of shape {shape} and type {dtype} does not fit its {size - start:,} bytes"
        )
    if not shape:
        return Array((), dtype, lambda: io.BytesIO())

    def after_head() -> IO[bytes]:
        stream = opened("rb")
        _head(stream)
        return stream

    def turned() -> IO[bytes]:
        with after_head() as stream:
            flat = np.frombuffer(stream.read(), dtype)
        return io.BytesIO(np.ascontiguousarray(flat.reshape(shape[::-1]).T).tobytes())

    return Array(shape, dtype, turned if fortran and len(shape) > 1 else after_head)


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        if version not in read:
            raise ValueError(f"NumPy's format {version[0]}.{version[1]} is not known")
        return read[version](stream)
    except ValueError:
        raise
    except Exception as error:  # NumPy reads its header as Python
        raise ValueError(f"the head of an array is damaged ({type(error).__name__})") from error
