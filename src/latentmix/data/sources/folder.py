"""A folder of image files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentmix.data.cache import stamp
from latentmix.data.decoding.images import decode, settle
from latentmix.data.decoding.walk import files_below
from latentmix.data.split import EXTENSIONS, Decoded

_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class Folder:
    """Image files: flat (no labels), one folder per class, or either of them inside train/, valid/ and test/.

    Any size, mode and extension of `EXTENSIONS`; transparency lies on white. Classes are numbered by name.
    Links to folders are followed. Hidden files and other kinds of files are passed over; images beside train/
    that are in no split are refused.

    Arguments:
        path: The folder.
        skip_bad: Whether images that cannot be decoded are left out, instead of refused.
    """

    path: str
    skip_bad: bool = False

    def read(self, image_size: int) -> Decoded:
        root = self._root()
        files = self._files()
        classes = self._classes(files)
        parts = settle(
            {
                split: decode(((f.relative_to(root).as_posix(), f) for f, _ in rows), len(rows), image_size)
                for split, rows in files.items()
            },
            skip_bad=self.skip_bad,
            where=self.path,
        )
        arrays: dict[str, Any] = {f"{split}_images": part.images for split, part in parts.items()}
        if classes:
            for split, part in parts.items():
                labels = np.array([classes.index(files[split][i][1]) for i in part.kept], np.int64)
                arrays[f"{split}_labels"] = labels
            if gone := [c for i, c in enumerate(classes) if i not in arrays["train_labels"]]:
                raise ValueError(f"{self.path} holds no usable image of class {', '.join(gone)}")
        return Decoded(**arrays, class_names=classes)

    def key(self) -> str:
        root = self._root()
        rows = [f for rows in self._files().values() for f, _ in rows]
        return stamp(root, *rows)

    def _root(self) -> Path:
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder")
        return root

    def _files(self) -> dict[str, list[tuple[Path, str]]]:
        """{split: [(file, class)]}, sorted; the class is "" in a flat folder."""
        root = self._root()
        split_up = any(p.is_dir() and _SPLITS.get(p.name.lower()) == "train" for p in root.iterdir())
        splits = self._splits(root) if split_up else {"train": _rows(root)}
        images = [file for rows in splits.values() for file, _ in rows]
        if not splits.get("train"):
            raise ValueError(f"{self.path} holds no images ({', '.join(sorted(e[1:] for e in EXTENSIONS))})")
        if len(images) == 1:
            raise ValueError(f"{self.path} holds one image only, {images[0].name}; mixing takes more")
        return splits

    def _splits(self, root: Path) -> dict[str, list[tuple[Path, str]]]:
        """As `_files`, where there is a train/: {split: its images}, every image being in one."""
        found: dict[str, str] = {}
        strays: list[str] = []
        for top in dict.fromkeys(top or file.name for file, top in _rows(root)):
            split = _SPLITS.get(top.lower()) if (root / top).is_dir() else None
            if split is None:
                strays.append(top)
            elif found.setdefault(split, top) != top:
                raise ValueError(
                    f"{self.path}: {found[split]}/ and {top}/ both hold {split} images; merge them"
                )
        if strays:
            more = f" and {len(strays) - 5} more" * (len(strays) > 5)
            raise ValueError(
                f"{self.path} has images beside train/ that are in no split: {', '.join(strays[:5])}{more}; "
                "move them into one, or rename train/ if it is a class"
            )
        return {split: _rows(root / top) for split, top in found.items()}

    def _classes(self, files: dict[str, list[tuple[Path, str]]]) -> tuple[str, ...]:
        named = {split: {label for _, label in rows} for split, rows in files.items()}
        classes = tuple(sorted(named["train"]))
        for split, labels in named.items():
            if "" in labels and len(labels) > 1:
                raise ValueError(
                    f"{self.path} has images beside its class folders ({split}); put each in a class folder"
                )
            if unknown := sorted(labels - set(classes)):
                raise ValueError(
                    f"{self.path}: class {unknown[0] or '(none)'} is in {split}/ but not in train/"
                )
        if classes == ("",):
            return ()
        if len(classes) == 1:
            raise ValueError(
                f"{self.path} holds one class folder only, {classes[0]}/; add another, or give that one"
            )
        return classes


def _rows(folder: Path) -> list[tuple[Path, str]]:
    """[(image, name of the folder in `folder` that holds it, or "")], sorted."""
    rows = []
    for file in files_below(folder):
        if file.suffix.lower() in EXTENSIONS:
            parts = file.relative_to(folder).parts
            rows.append((file, parts[0] if len(parts) > 1 else ""))
    return rows
