"""The files below a folder, and the entries that are skipped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from latentmix.data.decoding.foreign import FOREIGN, ending_of, is_heif
from latentmix.data.found import listed
from latentmix.data.names import printable

# Formats that Pillow opens, except those that are not pictures or need another program.
EXTENSIONS = frozenset(
    f".{name}"
    for line in (
        "apng avif avifs blp bmp bw cur dcx dds dib fit fits flc fli ftc ftu gbr gif icb icns ico iim im",
        "j2c j2k jfif jp2 jpc jpe jpeg jpf jpg jpx mpo msp pbm pcd pcx pfm pgm png pnm ppm psd pxr qoi ras",
        "rgb rgba sgi tga tif tiff vda vst webp xbm xpm",
    )
    for name in line.split()
)
# First bytes of image files, by which files without a usual extension are recognised.
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
PACKED = {".zip", ".tar", ".tgz", ".gz", ".tbz2", ".bz2", ".txz", ".xz", ".7z", ".rar"}
# What other programs leave behind: thumbnails of network drives, resource forks, recycle bins.
STRANGERS = {"@eadir", "__macosx", "#recycle", "@recycle", "$recycle.bin", "lost+found", "thumbs.db"}


@dataclass
class Listing:
    """The entries below a folder.

    Arguments:
        files: Files, sorted by path.
        hidden: Number of hidden files and folders.
        broken: Links to nothing or to themselves.
        strangers: Folders and files left by other programs.
        bare: Empty folders.
    """

    files: list[Path] = field(default_factory=list)
    hidden: int = 0
    broken: list[Path] = field(default_factory=list)
    strangers: list[Path] = field(default_factory=list)
    bare: list[Path] = field(default_factory=list)

    def left_out(self, root: Path) -> list[str]:
        """Return one sentence for each kind of entry that is skipped."""
        lines = []
        if self.broken:
            lines.append(f"{len(self.broken):,} links that lead nowhere: {_names(self.broken, root)}")
        if self.strangers:
            lines.append(f"what other programs left: {_names(self.strangers, root)}")
        if self.hidden:
            lines.append(f"{self.hidden:,} hidden files or folders")
        return lines


def listing(folder: Path) -> Listing:
    """List everything below a folder. Links to folders are followed, except in circles.

    People use such links to gather classes from several places.
    """
    found = Listing()
    _walk(folder, frozenset(), found)
    return found


def files_below(folder: Path) -> list[Path]:
    """List the files below a folder that are neither hidden nor left by other programs, sorted by path."""
    return listing(folder).files


def is_image(name: str, head: bytes = b"") -> bool:
    """Return whether a file is an image, by its extension or, if that is unknown, by its first 12 bytes.

    Unsupported picture formats count as images, so that decoding refuses them by name.
    """
    if (ending := ending_of(name)) in EXTENSIONS or ending in FOREIGN or is_heif(head):
        return True
    return head.startswith(MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def is_image_file(file: Path) -> bool:
    """Return whether a file on disk is an image; see `is_image`."""
    if is_image(file.name):
        return True
    try:
        with file.open("rb", buffering=0) as stream:
            return is_image(file.name, stream.read(12))
    except OSError:
        return False


def others(names: Iterable[str]) -> list[str]:
    """Describe files that are not images, by their extensions."""
    names = list(names)
    if not names:
        return []
    packed = [name for name in names if is_packed(name)]
    rest = [name for name in names if not is_packed(name)]
    kinds = Counter(ending_of(name) or "no extension" for name in rest)
    counts = listed(f"{kind} {count:,}" for kind, count in kinds.most_common())
    lines = [f"{len(rest):,} files that are not images ({counts}): {listed(map(printable, rest), 3)}"]
    if packed:
        text = f"{len(packed):,} archives, which are not opened here: {listed(map(printable, packed), 3)}"
        return [*(lines if rest else []), text]
    return lines


def is_packed(name: str) -> bool:
    """Return whether a file is an archive, by its extension."""
    return ending_of(name) in PACKED


def _walk(folder: Path, above: frozenset[Path], found: Listing) -> None:
    here = folder.resolve()
    if here in above:
        return
    with os.scandir(folder) as entries:
        shown = sorted(entries, key=lambda entry: entry.name)
    if not shown and above:
        found.bare.append(folder)
    for entry in shown:
        path = folder / entry.name
        if entry.name.startswith("."):
            found.hidden += 1
        elif entry.name.lower() in STRANGERS:
            found.strangers.append(path)
        elif entry.is_symlink() and not _leads_somewhere(path):
            found.broken.append(path)
        elif entry.is_dir():
            _walk(path, above | {here}, found)
        elif entry.is_file():
            found.files.append(path)


def _leads_somewhere(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, RuntimeError):
        return False


def _names(paths: Iterable[Path], root: Path) -> str:
    return listed((printable(path.relative_to(root).as_posix()) for path in paths), 3)
