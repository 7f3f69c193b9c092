"""Images in parquet files in the hub's layout: a folder of files, or a single file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latentmix.data.decoding.damage import one_line
from latentmix.data.decoding.layout import read_splits
from latentmix.data.decoding.tables import decode_tables
from latentmix.data.decoding.walk import files_below, others
from latentmix.data.identity import stamp
from latentmix.data.split import Decoded

if TYPE_CHECKING:
    import pyarrow.dataset as pads


@dataclass(frozen=True)
class Parquet:
    """Local parquet files that are named by split, such as `train-*.parquet`, or are in folders named so.

    The files are in the folder, in its `data/`, or in the only folder inside it that has parquet files (a
    configuration, in a copy of a repository). If no name contains a split, all images are training images.
    Class names come from the schema's metadata, as the hub writes it.

    Arguments:
        path: The folder, or one file.
        image_column: Column of encoded images; None for the only such column.
        label_column: Column of classes; None for `label` or another usual name, or else for the only integer
            column in which values repeat.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.
        valid_size: Number of training images that are held out for validation if the files have no validation
            split; a fifth of them, 10,000 at most, if None.
    """

    path: str
    image_column: str | None = None
    label_column: str | None = None
    skip_bad: bool = False
    valid_size: int | None = None

    def __post_init__(self) -> None:
        if self.valid_size is not None and self.valid_size < 1:
            raise ValueError(f"valid_size={self.valid_size}: must be at least 1")

    @staticmethod
    def fits(files: Iterable[Path]) -> bool:
        """Return whether one of these files is a table with a column of bytes, which may be images."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for file in files:
            if file.suffix.lower() == ".parquet":
                try:
                    kinds = pq.read_schema(file).types
                except (pa.ArrowException, OSError, ValueError):
                    continue
                if any(
                    pa.types.is_struct(k) or pa.types.is_binary(k) or pa.types.is_large_binary(k)
                    for k in kinds
                ):
                    return True
        return False

    def read(self, image_size: int) -> Decoded:
        import pyarrow as pa
        import pyarrow.dataset as pads

        splits, left_out = self._files()
        tables: dict[str, pads.Dataset] = {}
        for split, files in splits.items():
            for file in files:
                try:
                    pads.dataset(file, format="parquet").count_rows()
                except (pa.ArrowException, OSError, ValueError) as error:
                    raise ValueError(
                        f"{file} is cut short or not a parquet file: {one_line(error)}"
                    ) from error
            tables[split] = pads.dataset([str(f) for f in files], format="parquet")
        try:
            return decode_tables(
                tables,
                image_size,
                image_column=self.image_column,
                label_column=self.label_column,
                skip_bad=self.skip_bad,
                valid_size=self.valid_size,
                where=self.path,
                left_out=left_out,
            )
        except ValueError as error:
            if not isinstance(error, pa.ArrowException):
                raise
            raise ValueError(f"{self.path} holds a damaged parquet file: {one_line(error)}") from error
        except Exception as error:  # reading damaged bytes may raise anything
            raise ValueError(f"{self.path} holds a damaged parquet file: {one_line(error)}") from error

    def key(self) -> str:
        files = [file for files in self._files()[0].values() for file in files]
        root = Path(self.path).expanduser()
        return stamp(root if root.is_dir() else root.parent, files)

    def _files(self) -> tuple[dict[str, list[Path]], list[str]]:
        """Return {split: files}, and what else is in the folder."""
        root = Path(self.path).expanduser()
        if root.is_file():
            return {"train": [root]}, []
        if not root.is_dir():
            raise FileNotFoundError(f"{self.path}: no such file or folder")
        everything = files_below(root)
        tables = [file for file in everything if file.suffix.lower() == ".parquet"]
        if not tables:
            raise FileNotFoundError(f"{self.path} holds no *.parquet files")
        best, named = self._folder(root, tables)
        taken = [file for file in tables if best in (file.parent, file.parent.parent if named else None)]
        names = {file: _name(file, best) for file in taken}
        try:
            splits = read_splits(list(dict.fromkeys(names.values())), mark="")
        except ValueError as error:
            raise ValueError(f"{self.path} {error}") from None
        found: dict[str, list[Path]] = {}
        spare = []
        for file, name in names.items():
            split = splits.get(name, "train" if not splits else "")
            if split:
                found.setdefault(split, []).append(file)
            else:
                spare.append(file)
        rest = sorted({*everything} - {*taken})
        left_out = others(f.relative_to(root).as_posix() for f in rest if f not in tables)
        if unused := [f.relative_to(root).as_posix() for f in [*spare, *(f for f in rest if f in tables)]]:
            left_out.append(
                f"tables that belong to no training, validation or test split: {', '.join(unused[:5])}"
            )
        return found, left_out

    def _folder(self, root: Path, tables: list[Path]) -> tuple[Path, bool]:
        """Return the folder that contains the tables, and whether they are in folders of splits inside it."""
        inside = sorted({file.parent for file in tables})
        for best in (root, root / "data"):
            if best in inside:
                return best, False
        above = sorted({folder.parent for folder in inside})
        if len(above) == 1:
            try:
                if read_splits([folder.name for folder in inside]):
                    return above[0], True
            except ValueError as error:
                raise ValueError(f"{self.path} {error}") from None
        if len(inside) > 1:
            found = ", ".join(str(folder.relative_to(root)) for folder in inside[:5])
            raise ValueError(f"{self.path} holds several folders of parquet files, {found}; name one of them")
        return inside[0], False


def _name(file: Path, best: Path) -> str:
    """Return the name that tells a file's split: that of its folder if it is a split's, else its own."""
    return file.stem if file.parent == best else file.parent.name
