"""Tables with a column of encoded images, as the hub stores them, to decoded splits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmix.data.decoding.images import decode, settle
from latentmix.data.decoding.labels import class_indices
from latentmix.data.split import Decoded

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads


def decode_tables(
    tables: Mapping[str, pads.Dataset],
    image_size: int,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    skip_bad: bool = False,
    valid_size: int | None = None,
    where: str,
) -> Decoded:
    """Decode tables, batch by batch, so that encoded and decoded images are never all in memory together.

    Arguments:
        tables: {split: table}, the splits being some of `SPLITS` and "train" among them.
        image_column: Encoded images, as bytes or struct{bytes, path}; the only such column if None.
        label_column: Classes; `label`, `fine_label` or the only integer column if None (no labels without).
            Every other column of booleans, or of integers that are all 0 or 1, is an attribute; a boolean
            label stays one.
        where: What errors call the source.

    Raises:
        ValueError: Columns that are missing, labels with gaps, bad images.
    """
    schema = tables["train"].schema
    image = _image_column(schema, image_column, where)
    label = _label_column(schema, label_column, where)
    splits = settle(
        {s: decode(_images(t, image, s), t.count_rows(), image_size) for s, t in tables.items()},
        skip_bad=skip_bad,
        where=where,
    )
    kept = {split: part.kept for split, part in splits.items()}
    arrays: dict[str, Any] = {f"{split}_images": part.images for split, part in splits.items()}

    class_names: tuple[str, ...] = ()
    if label is not None:
        columns = _columns(tables, label)
        if columns is None:
            raise ValueError(f"{where}: column {label!r} has gaps (nulls); every image needs its label")
        try:
            labels, class_names = class_indices(columns, _class_names(schema, label))
        except ValueError as error:
            raise ValueError(f"{where}: column {label!r}: {error}") from None
        arrays |= {f"{split}_labels": column[kept[split]] for split, column in labels.items()}

    attributes = _attributes(tables, exclude=label)
    if attributes:
        for split in splits:
            stacked = np.stack([columns[split] for columns in attributes.values()], axis=1)
            arrays[f"{split}_attributes"] = stacked.astype(np.uint8)[kept[split]]
    return Decoded(
        **arrays,
        class_names=class_names,
        attribute_names=tuple(attributes),
        valid_size=valid_size,
    )


def _image_column(schema: pa.Schema, asked: str | None, where: str) -> str:
    import pyarrow as pa

    def encoded(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [field.name for field in schema if encoded(field.type)]
    if asked is not None:
        _must_have(schema, asked, where)
        if asked not in found:
            raise ValueError(
                f"{where}: column {asked!r} is {schema.field(asked).type} and holds no encoded images; "
                f"columns that do: {', '.join(found) or 'none'}"
            )
        return asked
    if len(found) != 1:
        raise ValueError(
            f"{where}: {'no column holds' if not found else 'several columns hold'} encoded images "
            f"(bytes, or struct of bytes and path); columns are {_describe(schema)}"
            + ("; choose one as image_column" if found else "")
        )
    return found[0]


def _label_column(schema: pa.Schema, asked: str | None, where: str) -> str | None:
    import pyarrow as pa

    if asked is not None:
        _must_have(schema, asked, where)
        return asked
    for usual in ("label", "fine_label"):
        if usual in schema.names:
            return usual
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    return integers[0] if len(integers) == 1 else None


def _must_have(schema: pa.Schema, column: str, where: str) -> None:
    if column not in schema.names:
        raise ValueError(f"{where}: no column {column!r}; columns are {_describe(schema)}")


def _describe(schema: pa.Schema) -> str:
    described = [f"{f.name} ({str(f.type).split('<')[0]})" for f in schema]
    more = f" and {len(described) - 12} more" if len(described) > 12 else ""
    return ", ".join(described[:12]) + more


def _images(table: pads.Dataset, column: str, split: str) -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa

    row = 0
    for batch in table.to_batches(columns=[column], batch_size=1024, batch_readahead=1, fragment_readahead=1):
        cells = batch.column(0)
        if pa.types.is_struct(cells.type):
            cells = cells.field("bytes")
        for content in cells.to_pylist():
            yield f"{split} row {row}", content or b""
            row += 1


def _columns(tables: Mapping[str, pads.Dataset], name: str) -> dict[str, NDArray] | None:
    """A column of every split; None where any has nulls."""
    columns = {split: table.to_table(columns=[name]).column(0) for split, table in tables.items()}
    if any(column.null_count for column in columns.values()):
        return None
    arrays = {split: column.to_numpy() for split, column in columns.items()}
    return {s: a.astype(str) if a.dtype == object else a for s, a in arrays.items()}


def _attributes(tables: Mapping[str, pads.Dataset], exclude: str | None) -> dict[str, dict[str, NDArray]]:
    import pyarrow as pa

    found = {}
    for field in tables["train"].schema:
        boolean = pa.types.is_boolean(field.type)
        if not boolean and (field.name == exclude or not pa.types.is_integer(field.type)):
            continue
        columns = _columns(tables, field.name)
        if columns is not None and all(((c == 0) | (c == 1)).all() for c in columns.values()):
            found[field.name] = columns
    return found


def _class_names(schema: pa.Schema, column: str) -> Sequence[str] | None:
    import pyarrow as pa

    if pa.types.is_boolean(schema.field(column).type):
        return f"not {column}", column
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(column, {})
    return feature.get("names") if isinstance(feature, dict) else None
