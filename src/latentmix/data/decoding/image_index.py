"""Finding images by their names in lists: a path, a name, or a name without its extension."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from latentmix.data.decoding.layout import is_filling, read_name


class ImageIndex:
    """Finds images by their names in lists.

    Arguments:
        images: Paths of all images, relative to the root of the source.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self.images = images
        self.paths = {path: i for i, path in enumerate(images)}
        self.names = self._unique(enumerate(path.rpartition("/")[2] for path in images))
        self.stems = self._unique(enumerate(path.rpartition("/")[2].rpartition(".")[0] for path in images))
        self.bare = self._unique(enumerate(path.rpartition(".")[0] for path in images))
        self.folders = {str(folder) for image in images for folder in PurePosixPath(image).parents}

    def finds(self, path: str, value: str) -> bool:
        """Return whether a value in the list at `path` names an image."""
        return self._find(path.rpartition("/")[0], value) is not None

    def column(self, path: str, rows: Sequence[Mapping[str, str]]) -> str | None:
        """Return the column that names the most images, if these are at least half of the rows; else None."""
        if not rows:
            return None
        counts = Counter({n: sum(i is not None for i in self.rows(path, rows, n)) for n in rows[0]})
        best, count = counts.most_common(1)[0]
        return best if 2 * count >= len(rows) and count else None

    def named_in(self, raw: bytes) -> bool:
        """Return whether a text contains the name of one of the first images."""
        return any(name.encode() in raw for name in [*self.names, *self.paths][:1000])

    def rows(self, path: str, rows: Sequence[Mapping[str, str]], column: str) -> list[int | None]:
        """Return the index of the image that each row names; None if it names none."""
        below = path.rpartition("/")[0]
        return [self._find(below, row.get(column, "")) for row in rows]

    def _find(self, below: str, value: str) -> int | None:
        value = value.strip().replace("\\", "/").removeprefix("./")
        if not value:
            return None
        if value.startswith(("/", "~")) or value[1:3] == ":/":  # an absolute path of another machine
            return self._ending(value.split("/")[1:])
        for name in (f"{below}/{value}", value) if below else (value,):
            if name in self.paths:
                return self.paths[name]
            if name in self.bare:
                return self.bare[name]
        if "/" in value:
            return self._below_others(below, value)
        return self.names.get(value, self.stems.get(value))

    def _ending(self, parts: Sequence[str]) -> int | None:
        """Find the image whose complete path ends an absolute path; a name alone must not be in a split."""
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            if (found := self.paths.get(name, self.bare.get(name))) is not None:
                bare = start == len(parts) - 1
                return None if bare and any(read_name(part).word for part in parts[:-1]) else found
        return None

    def _below_others(self, below: str, value: str) -> int | None:
        """Find an image by a path from another folder: apple/1 in meta/train.txt for images/apple/1.jpg.

        Or one that starts further up: images/apple/1, if the source is the folder images/.
        """
        if below in self.folders or value.split("/")[0] in self.folders:
            return None  # the path starts here, and there is no such image
        parts = value.split("/")
        for start in range(1, len(parts)):
            dropped, name = parts[start - 1], "/".join(parts[start:])
            if read_name(dropped).word or (start == len(parts) - 1 and not is_filling(dropped)):
                break
            if (found := self.paths.get(name, self.bare.get(name))) is not None:
                return found
        return self._tails.get(value)

    @cached_property
    def _tails(self) -> dict[str, int]:
        tails = []
        for i, path in enumerate(self.images):
            parts = path.split("/")
            for start in range(1, len(parts) - 1):
                tail = "/".join(parts[start:])
                tails += [(i, tail), (i, tail.rpartition(".")[0])]
        return self._unique(tails)

    @staticmethod
    def _unique(names: Iterable[tuple[int, str]]) -> dict[str, int]:
        found: dict[str, int] = {}
        several = set()
        for i, name in names:
            if found.setdefault(name, i) != i:
                several.add(name)
        return {name: i for name, i in found.items() if name not in several}
