"""Decoding of tables with a column of encoded images, as the hub stores them, to splits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latentmix.data.decoding.images import decode, describe, settle
from latentmix.data.decoding.labels import as_column, class_indices, is_hidden, may_be_classes, usual
from latentmix.data.decoding.layout import column_splits, read_name
from latentmix.data.split import SPLITS, Columns, Decoded

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads

Tables = Mapping[str, "pads.Dataset"]


def decode_tables(
    tables: Tables,
    image_size: int,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    skip_bad: bool = False,
    valid_size: int | None = None,
    where: str,
    left_out: Iterable[str] = (),
) -> Decoded:
    """Decode tables, batch by batch, so that all encoded and all decoded images are never in memory together.

    Every column of booleans, or of integers that are all 0 or 1, is an attribute, except the column of
    integers that holds the classes.

    Arguments:
        tables: {split: table}; the splits are some of `SPLITS`, "train" among them.
        image_size: Side of the decoded images, in pixels.
        image_column: Column of encoded images, as bytes or struct{bytes, path}; if None, the only such
            column.
        label_column: Column of classes; if None, the first column with a usual name such as `label`, or else
            the only column of integers whose values repeat. Without such a column there are no labels.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.
        valid_size: See `Decoded`.
        where: What errors call the source.
        left_out: What else the source contains and is not used, one sentence each.

    Raises:
        ValueError: A column is missing, labels have gaps, or images cannot be decoded.
    """
    tables, by = _by_column(tables, label_column, where)
    notes = [] if by is None else [f"splits are those of column {by}"]
    schema = tables["train"].schema
    image = _image_column(schema, image_column, where)
    label, how = _label_column(tables, label_column, where)
    notes += how
    left = list(left_out)
    for split, table in list(tables.items()):
        if split != "train" and label is not None and _unlabelled(table, label):
            left.append(f"{table.count_rows():,} {split} images, whose labels are hidden")
            tables = {s: t for s, t in tables.items() if s != split}
    for split, table in tables.items():
        if image not in table.schema.names:
            raise ValueError(f"{where}: {split} has no column {image!r}; it has {_describe(table.schema)}")
    names: tuple[str, ...] = ()
    labels: dict[str, NDArray[np.int64]] = {}
    if label is not None:
        names, labels = _labels(tables, label, where)
    splits = settle(
        {s: decode(_images(t, image, s), t.count_rows(), image_size) for s, t in tables.items()},
        skip_bad=skip_bad,
        where=where,
    )
    attributes = _attributes(tables, label, by)
    columns = {}
    for split, part in splits.items():
        stacked = None
        if attributes:
            stacked = np.stack([found[split] for found in attributes.values()], axis=1).astype(np.uint8)
            stacked = stacked[part.kept]
        columns[split] = Columns(part.images, labels[split][part.kept] if labels else None, stacked)
    if unused := [f.name for f in schema if f.name not in (image, label, by, *attributes)]:
        left.append(f"columns {_describe(schema, unused)}")
    found = describe(splits.values(), *left, notes=notes)
    return Decoded(columns, names, tuple(attributes), valid_size=valid_size, found=found)


def _by_column(tables: Tables, label: str | None, where: str) -> tuple[Tables, str | None]:
    """Divide a table by the column that tells the split of each row; return the tables and the column.

    The column is None if there is no such column, or if files or folders are named by split already.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(tables) > 1:
        return tables, None
    table = tables["train"]
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        text = _is_text(kind)
        if field.name == label or not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            continue
        if not text and not read_name(field.name).word:
            continue
        column = table.to_table(columns=[field.name]).column(0)
        values = set(pc.unique(column).to_pylist())
        try:
            splits = column_splits(field.name, map(str, values - {None}))
        except ValueError as error:
            raise ValueError(f"{where} {error}") from None
        if not splits:
            continue
        if None in values:
            raise ValueError(f"{where}: column {field.name!r} has gaps (nulls); every image needs its split")
        cut = {}
        for split in dict.fromkeys(SPLITS):
            mine = [value for value in values if splits[str(value)] == split]
            if mine:
                cut[split] = table.filter(pc.is_in(pc.field(field.name).cast(kind), pa.array(mine, kind)))
        return cut, field.name
    return tables, None


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


def _label_column(tables: Tables, asked: str | None, where: str) -> tuple[str | None, list[str]]:
    """Return the column of classes, None without one, and sentences about how it was found."""
    import pyarrow as pa

    schema = tables["train"].schema
    if asked is not None:
        _must_have(schema, asked, where)
        return asked, []
    plain = [
        f.name
        for f in schema
        if pa.types.is_integer(f.type)
        or pa.types.is_boolean(f.type)
        or _is_text(f.type)
        or pa.types.is_dictionary(f.type)
        or pa.types.is_list(f.type)
        or pa.types.is_floating(f.type)
    ]
    if (name := usual(plain)) is not None:
        return name, [f"labels are column {name}"]
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    columns = _columns(tables, integers[0]) if len(integers) == 1 else None
    if columns is not None and may_be_classes(integers[0], columns.values()):
        return integers[0], [f"labels are column {integers[0]}, the only one of whole numbers"]
    return None, ["no column is named as labels are; label_column=NAME chooses one"]


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return any(
        is_it(kind) for is_it in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _must_have(schema: pa.Schema, column: str, where: str) -> None:
    if column not in schema.names:
        raise ValueError(f"{where}: no column {column!r}; columns are {_describe(schema)}")


def _describe(schema: pa.Schema, names: Sequence[str] | None = None) -> str:
    fields = [f for f in schema if names is None or f.name in names]
    described = [f"{f.name} ({str(f.type).split('<')[0]})" for f in fields]
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


def _unlabelled(table: pads.Dataset, label: str) -> bool:
    """Return whether no row of a split has a label: there is no such column, or only nulls or -1 in it."""
    if label not in table.schema.names:
        return True
    column = table.to_table(columns=[label]).column(0)
    if len(column) and column.null_count == len(column):
        return True
    return column.null_count == 0 and is_hidden(np.asarray(column.to_numpy()))


def _labels(tables: Tables, label: str, where: str) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    columns = _columns(tables, label)
    if columns is None:
        raise ValueError(f"{where}: column {label!r} has gaps (nulls); every image needs its label")
    known = {split: _class_names(table.schema, label) for split, table in tables.items()}
    for split, names in known.items():
        if names is not None and known["train"] is not None and list(names) != list(known["train"]):
            raise ValueError(f"{where}: column {label!r} has other class names in {split} than in train")
    try:
        labels, class_names = class_indices(columns, known["train"])
    except ValueError as error:
        raise ValueError(f"{where}: column {label!r}: {error}") from None
    return class_names, labels


def _columns(tables: Tables, name: str) -> dict[str, NDArray] | None:
    """Return a column of every split, shapes (N,); None if a split has nulls in it or lacks the column.

    Raises:
        ValueError: The cells have a type that a class cannot have.
    """
    import pyarrow as pa

    if any(name not in table.schema.names for table in tables.values()):
        return None
    arrays = {}
    for split, table in tables.items():
        column = table.to_table(columns=[name]).column(0)
        if column.null_count:
            return None
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            cells = column.to_pylist()
            if len({len(cell) for cell in cells}) > 1:
                raise ValueError(f"column {name!r} holds lists of several lengths; a label is one value")
            array = np.array(cells)
        else:
            array = column.to_numpy()
        arrays[split] = as_column(array) if array.ndim > 1 or array.dtype == object else array
    return arrays


def _attributes(tables: Tables, label: str | None, by: str | None) -> dict[str, dict[str, NDArray]]:
    import pyarrow as pa

    found = {}
    for field in tables["train"].schema:
        boolean = pa.types.is_boolean(field.type)
        if not boolean and (field.name == label or not pa.types.is_integer(field.type)):
            continue
        if field.name == by:
            continue
        columns = _columns(tables, field.name)
        if columns is not None and all(
            c.dtype.kind in "iub" and ((c == 0) | (c == 1)).all() for c in columns.values()
        ):
            found[field.name] = columns
    return found


def _class_names(schema: pa.Schema, column: str) -> Sequence[str] | None:
    import pyarrow as pa

    if pa.types.is_boolean(schema.field(column).type):
        return f"not {column}", column
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = metadata.get("info", {}).get("features", {}).get(column, {})
    except (ValueError, AttributeError):
        return None
    names = feature.get("names") if isinstance(feature, dict) else None
    return names if isinstance(names, list) and all(isinstance(n, str) for n in names) else None
