"""Images in folders that `datasets.Dataset.save_to_disk` has written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from latentmix.data.decoding.damage import guarded
from latentmix.data.decoding.layout import read_splits
from latentmix.data.decoding.tables import decode_tables
from latentmix.data.decoding.walk import files_below
from latentmix.data.identity import stamp
from latentmix.data.split import Decoded


@dataclass(frozen=True)
class SavedToDisk:
    """A folder written by `save_to_disk` of the library `datasets`, with one split or several named splits.

    Arguments:
        path: The folder, with dataset_dict.json or state.json.
        image_column: Column of encoded images; None for the only such column.
        label_column: Column of classes; None for `label` or another usual name, or else for the only integer
            column in which values repeat.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.
    """

    path: str
    image_column: str | None = None
    label_column: str | None = None
    skip_bad: bool = False

    @staticmethod
    def fits(path: str | Path) -> bool:
        """Return whether `path` looks like what `save_to_disk` writes."""
        root = Path(path).expanduser()
        return (root / "dataset_dict.json").is_file() or (root / "state.json").is_file()

    def read(self, image_size: int) -> Decoded:
        if not self.fits(self.path):
            raise FileNotFoundError(f"{self.path} holds no dataset_dict.json and no state.json")
        return guarded(self.path, partial(self._read, image_size))

    def key(self) -> str:
        root = Path(self.path).expanduser()
        return stamp(root, files_below(root))

    def _read(self, image_size: int) -> Decoded:
        import datasets
        import pyarrow.dataset as pads

        loaded = datasets.load_from_disk(str(Path(self.path).expanduser()))
        named = {"train": loaded} if isinstance(loaded, datasets.Dataset) else dict(loaded)
        splits = read_splits(list(named), mark="") or dict.fromkeys(named, "train")
        if len(set(splits.values())) < len(splits):
            raise ValueError(f"splits {', '.join(named)} cannot be told apart; call them train and test")
        tables, left_out = {}, []
        for name, rows in named.items():
            if not splits[name]:
                unused = f"{len(rows):,} images of split {name}"
                left_out.append(f"{unused}, which is not a training, validation or test split")
                continue
            table = rows.data.table
            if rows._indices is not None:  # rows were selected or shuffled before saving
                table = table.take(rows._indices.column(0))
            metadata = rows.features.arrow_schema.metadata
            tables[splits[name]] = pads.dataset(table.replace_schema_metadata(metadata))
        return decode_tables(
            tables,
            image_size,
            image_column=self.image_column,
            label_column=self.label_column,
            skip_bad=self.skip_bad,
            where="it",
            left_out=left_out,
        )
