"""A folder of parquet files in the hub's layout."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latentmix.data.cache import stamp
from latentmix.data.decoding.tables import decode_tables
from latentmix.data.decoding.walk import files_below
from latentmix.data.split import Decoded

if TYPE_CHECKING:
    import pyarrow.dataset as pads

_SPLIT = re.compile(r"(train|valid|val|test)(?:ing|ation)?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Parquet:
    """A local folder of parquet files named by split, such as `train-*.parquet`.

    They lie in the folder, in its `data/`, or in its only folder that has any (a configuration, in a copy of
    a repository). Without a split in any name, all are training images. Class names come from the schema's
    metadata, as the hub writes it.

    Arguments:
        path: The folder.
        image_column: Encoded images; the only such column if None.
        label_column: Classes; `label`, `fine_label` or the only integer column if None.
        skip_bad: Whether images that cannot be decoded are left out, instead of refused.
    """

    path: str
    image_column: str | None = None
    label_column: str | None = None
    skip_bad: bool = False

    def read(self, image_size: int) -> Decoded:
        import pyarrow as pa
        import pyarrow.dataset as pads

        tables: dict[str, pads.Dataset] = {}
        for split, files in self._files().items():
            for file in files:
                try:
                    pads.dataset(file, format="parquet").count_rows()
                except (pa.ArrowException, OSError) as error:
                    raise ValueError(f"{file} is cut short or no parquet file: {_line(error)}") from error
            tables[split] = pads.dataset([str(f) for f in files], format="parquet")
        try:
            return decode_tables(
                tables,
                image_size,
                image_column=self.image_column,
                label_column=self.label_column,
                skip_bad=self.skip_bad,
                where=self.path,
            )
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} holds a damaged parquet file: {_line(error)}") from error

    def key(self) -> str:
        files = [file for files in self._files().values() for file in files]
        return stamp(Path(self.path).expanduser(), *files)

    def _files(self) -> dict[str, list[Path]]:
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"{self.path}: no such folder")
        inside = sorted({file.parent for file in files_below(root) if file.suffix == ".parquet"})
        if not inside:
            raise FileNotFoundError(f"{self.path} holds no *.parquet files")
        best = next(folder for folder in (root, root / "data", inside[0]) if folder in inside)
        if best not in (root, root / "data") and len(inside) > 1:
            found = ", ".join(str(folder.relative_to(root)) for folder in inside[:5])
            raise ValueError(f"{self.path} holds several folders of parquet files, {found}; name one of them")
        files = sorted(best.glob("*.parquet"))
        splits = defaultdict(list)
        for file in files:
            named = _SPLIT.match(file.name)
            splits[{"val": "valid"}.get(s := named[1].lower(), s) if named else ""].append(file)
        if not {"train", "valid", "test"} & set(splits):
            return {"train": splits[""]}
        splits.pop("", None)  # such as SVHN's `extra`, which no paper here trains on
        if "train" not in splits:
            raise ValueError(
                f"{self.path} holds no train-*.parquet, only {', '.join(f.name for f in files[:5])}"
            )
        return dict(splits)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
