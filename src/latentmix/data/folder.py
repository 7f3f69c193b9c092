"""A folder of image files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentmix.data import EXTENSIONS, Decoded
from latentmix.data.cache import stamp
from latentmix.data.images import decode, settle

_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class Folder:
    """Image files: flat (no labels), one folder per class, or either of them inside train/, valid/ and test/.

    Any size, mode and extension of `EXTENSIONS`; transparency lies on white. Classes are numbered by name.
    Hidden files and other kinds of files are passed over.

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
        inside = {
            _SPLITS[p.name.lower()]: p
            for p in sorted(root.iterdir())
            if p.is_dir() and p.name.lower() in _SPLITS
        }
        splits = {s: _rows(p) for s, p in inside.items()} if "train" in inside else {"train": _rows(root)}
        splits = {split: rows for split, rows in splits.items() if rows}
        images = [file for rows in splits.values() for file, _ in rows]
        if not splits.get("train"):
            raise ValueError(f"{self.path} holds no images ({', '.join(sorted(e[1:] for e in EXTENSIONS))})")
        if len(images) == 1:
            raise ValueError(f"{self.path} holds one image only, {images[0].name}; mixing takes more")
        return splits

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
    rows = []
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.suffix.lower() in EXTENSIONS and not any(p.startswith(".") for p in parts) and file.is_file():
            rows.append((file, parts[0] if len(parts) > 1 else ""))
    return rows
