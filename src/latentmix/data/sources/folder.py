"""Images in a folder of image files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from latentmix.data.decoding.files import decode_files
from latentmix.data.decoding.layout import check_packed, read_name
from latentmix.data.decoding.lists import find_lists
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
    attributes and splits instead; so do train.txt, valid.txt and test.txt with the name of an image in each
    line. Links to folders are followed. Hidden files and other kinds of files are
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
            lists={name: partial(Path.read_bytes, file) for name, file in lists.items()},
            skip_bad=self.skip_bad,
            where=self.path,
            left_out=left_out,
        )

    def key(self) -> str:
        _, files, lists, _ = self._files()
        return stamp(Path(self.path).expanduser(), [*files, *lists.values()])

    def _files(self) -> tuple[Path, list[Path], dict[str, Path], list[str]]:
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
        root = _unwrapped(given, images)
        shown = _shown(rest, root, given)
        lists = {n: shown[n] for n in find_lists(shown, list(_shown(images, root, given)))}
        strange = [name for name in shown if name not in lists]
        check_packed(self.path, strange)
        left_out = [*others(strange), *found.left_out(given), *_imageless(given, images, found)]
        return root, images, lists, left_out


def _shown(files: Iterable[Path], root: Path, given: Path) -> dict[str, Path]:
    """Files by their paths below the folder of splits and classes, or below the one that was given."""
    named: dict[str, Path] = {}
    for file in files:
        name = printable(file.relative_to(root if file.is_relative_to(root) else given).as_posix())
        named[name if name not in named else f"../{name}"] = file
    return named


def _unwrapped(root: Path, images: list[Path]) -> Path:
    """Return the folder that contains the splits if everything is inside further folders, else `root`."""
    inner = root
    while True:
        tops = {file.relative_to(inner).parts[0] for file in images}
        if len(tops) > 1 or any(len(file.relative_to(inner).parts) == 1 for file in images):
            break
        if read_name(next(iter(tops))).word:
            break
        inner = inner / next(iter(tops))
    folders = {p[0] for file in images if len(p := file.relative_to(inner).parts) > 1}
    return inner if len(folders) > 1 else root


def _imageless(root: Path, images: list[Path], found: Listing) -> list[str]:
    """List folders beside the class folders that contain no image."""
    tops = {p[0] for file in images if len(p := file.relative_to(root).parts) > 1}
    folders = [file.relative_to(root).parts[:-1] for file in found.files]
    folders += [folder.relative_to(root).parts for folder in found.bare]
    bare = sorted({parts[0] for parts in folders if parts} - tops)
    return [f"folder {printable(name)}/, which holds no image" for name in bare] if tops else []


def _instead(found: Listing, root: Path) -> str:
    lines = [*others(f.relative_to(root).as_posix() for f in found.files), *found.left_out(root)]
    return f", only {'; '.join(lines)}" if lines else ""
