"""Images in a folder of image files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from latentmix.data.decoding.files import decode_files
from latentmix.data.decoding.layout import read_splits
from latentmix.data.decoding.lists import KINDS
from latentmix.data.decoding.walk import Listing, is_image_file, listing, others
from latentmix.data.identity import stamp
from latentmix.data.names import printable
from latentmix.data.split import Decoded


@dataclass(frozen=True)
class Folder:
    """A folder of image files: flat (no labels), one folder per class, or either in train/, valid/ and test/.

    Images may have any format that Pillow opens, any size and any mode; transparent parts become white.
    Classes are numbered in the order of their names. Splits may also be inside the class folders
    (cats/train/). A .csv, .tsv or .jsonl file in the folder that names the images gives their labels,
    attributes and splits instead. Links to folders are followed. Hidden files and other kinds of files are
    skipped; images beside train/ that belong to no split are an error.

    Arguments:
        path: The folder.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.
    """

    path: str
    skip_bad: bool = False

    def read(self, image_size: int) -> Decoded:
        root, files, lists, left_out = self._files()
        names = [printable(file.relative_to(root).as_posix()) for file in files]
        return decode_files(
            names,
            lambda rows: [files[i] for i in rows],
            image_size,
            lists={printable(f.relative_to(root).as_posix()): partial(Path.read_bytes, f) for f in lists},
            skip_bad=self.skip_bad,
            where=self.path,
            left_out=left_out,
        )

    def key(self) -> str:
        root, files, lists, _ = self._files()
        return stamp(root, [*files, *lists])

    def _files(self) -> tuple[Path, list[Path], list[Path], list[str]]:
        """Return the folder that contains splits and classes, its images, its lists, and what is skipped."""
        given = Path(self.path).expanduser()
        if not given.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder")
        found = listing(given)
        images = [file for file in found.files if is_image_file(file)]
        if not images:
            raise ValueError(f"{self.path} holds no images{_instead(found, given)}")
        if len(images) == 1:
            raise ValueError(f"{self.path} holds one image only, {images[0].name}; mixing takes more")
        rest = sorted(set(found.files) - set(images))
        lists = [file for file in rest if file.suffix.lower() in KINDS]
        root = _unwrapped(given, images)
        lists = [file for file in lists if file.is_relative_to(root)]
        strange = [file.relative_to(given).as_posix() for file in rest if file not in set(lists)]
        left_out = [*others(strange), *found.left_out(given), *_imageless(given, images, found)]
        return root, images, lists, left_out


def _unwrapped(root: Path, images: list[Path]) -> Path:
    """Return the folder that contains the splits if everything is inside further folders, else `root`."""
    inner = root
    while True:
        tops = {file.relative_to(inner).parts[0] for file in images}
        if len(tops) > 1 or any(len(file.relative_to(inner).parts) == 1 for file in images):
            break
        inner = inner / next(iter(tops))
    if inner == root:
        return root
    names = sorted({p[0] for file in images if len(p := file.relative_to(inner).parts) > 1})
    try:
        return inner if read_splits(names) else root
    except ValueError:
        return root


def _imageless(root: Path, images: list[Path], found: Listing) -> list[str]:
    """List folders beside the class folders that contain no image."""
    tops = {p[0] for file in images if len(p := file.relative_to(root).parts) > 1}
    files = [file.relative_to(root) for file in found.files]
    bare = sorted({file.parts[0] for file in files if len(file.parts) > 1} - tops)
    return [f"folder {printable(name)}/, which holds no image" for name in bare] if tops else []


def _instead(found: Listing, root: Path) -> str:
    lines = [*others(f.relative_to(root).as_posix() for f in found.files), *found.left_out(root)]
    return f", only {'; '.join(lines)}" if lines else ""
