"""Splits and classes by the names of files and folders, with one vocabulary for every kind of source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from latentmix.data.decoding.walk import is_packed
from latentmix.data.found import listed

WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "validate", "dev", "development", "devel"), "valid"),
    **dict.fromkeys(("valset", "validset", "validationset", "devset"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "testingset"), "test"),
}
# Names of splits whose purpose is not clear.
UNCLEAR = {"eval", "evaluation", "holdout", "heldout", "trainval", "traintest", "valtest", "testval"}
# Splits that have no labels, or that papers do not train on, such as SVHN's; they lie beside the usual ones.
SPARE = {"extra", "unlabeled", "unlabelled", "unsupervised"}
_FILLING = {"set", "sets", "split", "data", "dataset", "images", "image", "img", "imgs", "pictures"}
_FILLING |= {"photos", "files", "shard", "part", "of", "partial"}
_HOLDERS = {"images", "image", "imgs", "img", "data", "dataset", "jpegimages"}
ANNOTATIONS = {"masks", "mask", "labels", "annotations", "segmentation", "segmentations", "gt", "groundtruth"}
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "usage")
_LISTS = {"list", "lists", "names", "filenames", "paths", "ids", "index", "indices", "labels", "label"}
_FOLD = re.compile(r"(cv|k)?[-_ ]?(fold|split|partition)s?[-_ ]?\d+", re.IGNORECASE)
_FLAG = {"is", "in", "image", "img"}  # words beside a split in the name of a column of ones and zeros
_TRUE, _FALSE = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")
_HASH = re.compile(r"(?<![0-9a-zA-Z])(?=[a-z]*[0-9])[0-9a-f]{8,}(?![0-9a-zA-Z])")


class Named(NamedTuple):
    """What the name of a file, folder or column says.

    Arguments:
        word: The split: "train", "valid" or "test"; "unclear" for a split of unclear purpose, "spare" for one
            that nobody trains on; "" if it names no split.
        rest: Its other words, without numbers and words such as "images".
    """

    word: str
    rest: tuple[str, ...]


class Row(NamedTuple):
    """The split and the class of one file; the class is "" if no folder names it."""

    split: str
    label: str


def read_name(name: str) -> Named:
    """Find a split in the name of a file or folder: "train-00000-of-00001", "mnist_test", "Val2017"."""
    tokens = [token.lower() for token in _TOKEN.findall(_HASH.sub(" ", name))]
    kinds = dict.fromkeys(kind for token in tokens if (kind := _kind(token)))
    rest = tuple(token for token in tokens if not _kind(token) and token not in _FILLING)
    if len(kinds) > 1:
        return Named("unclear", rest)
    return Named(next(iter(kinds), ""), rest)


def stem(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, without numbers and words such as "images"."""
    tokens = [token.lower() for token in _TOKEN.findall(_HASH.sub(" ", name))]
    return tuple(token for token in tokens if token not in _FILLING and not token.isdecimal())


def is_filling(name: str) -> bool:
    """Return whether a folder's name says only that there are images in it."""
    return name.lower() in _HOLDERS


def column_splits(name: str, values: Iterable[str]) -> dict[str, str]:
    """Return {value: split} if a column of a table tells the split of each row; otherwise {}.

    Such a column contains names of splits, "train" among them, and may have any name; or its name contains a
    split, such as `is_train`, and it contains ones and zeros. The split of rows that nobody trains on is "".

    Arguments:
        name: What the column is called.
        values: Its values as text.

    Raises:
        ValueError: A column called `split` or the like whose values look like splits and are not understood.
    """
    values = sorted(set(values))
    word, rest = read_name(name)
    lower = {value.lower() for value in values}
    flag = word in ("train", "valid", "test") and "is" in rest and set(rest) <= _FLAG
    if flag and len(lower) > 1 and lower <= _TRUE | _FALSE:
        other = "test" if word == "train" else "train"
        return {value: word if value.lower() in _TRUE else other for value in values}
    named = name.lower() in SPLIT_COLUMNS
    read = {value: read_name(value) for value in values[:100]}
    if len(values) <= len(read) and all(w.word and not w.rest and w.word != "unclear" for w in read.values()):
        splits = {value: "" if w.word == "spare" else w.word for value, w in read.items()}
        if "train" in splits.values() and (named or len(set(splits.values())) > 1):
            return splits
    if named and any(w.word for w in read.values()):
        raise ValueError(
            f"has a column {name} of names that look like splits, but not all are understood: "
            f"{listed(values, 8)}; call them train, valid and test, or rename the column"
        )
    return {}


def split_of_list(path: str) -> str:
    """Return the split in the name of a list, such as test.txt or validation_list.txt; "" for none."""
    word, rest = read_name(path.rpartition("/")[2].rpartition(".")[0])
    return word if word in ("train", "valid", "test") and set(rest) <= _LISTS else ""


def is_list_of_splits(path: str) -> bool:
    """Return whether a file's name says that it divides images, as splits.json and trainval.txt do."""
    name = path.rpartition("/")[2].rpartition(".")[0]
    word, rest = read_name(name)
    return set(rest) <= _LISTS and (word == "unclear" or (not word and name.lower() in ("split", "splits")))


def check_packed(where: str, others: Iterable[str]) -> None:
    """Refuse an archive beside images that seems to hold a split of them.

    Raises:
        ValueError: Names it.
    """
    for path in others:
        if is_packed(path) and split_of_list(path):
            raise ValueError(
                f"{where} holds {path} beside its images, which looks like a split of them; unpack it, or "
                f"move it elsewhere"
            )


def read_splits(names: Sequence[str], beside: Sequence[str] = (), mark: str = "/") -> dict[str, str]:
    """Return {name: split} if names stand for splits, with "" for a name that is left out; otherwise {}.

    Arguments:
        names: Names of folders in one place, or of files that contain tables.
        beside: Names of images in the same place.
        mark: What errors write after a name.

    Raises:
        ValueError: Some names look like splits, but not all can be understood.
    """
    read = {name: read_name(name) for name in names}
    families: dict[tuple[str, ...], set[str]] = {}
    for word, rest in read.values():
        if word:
            families.setdefault(rest, set()).add(word)
    meant = () in families or any(len(words) > 1 for words in families.values())
    meant = meant or (len(names) > 1 and all(word for word, _ in read.values()))
    if len(names) > 1 and all(_FOLD.fullmatch(name) for name in names):
        raise ValueError(
            f"has folds of cross-validation, not splits or classes: {listed([n + mark for n in names], 8)}; "
            "call them train, valid and test, or give the folder of one"
        )
    if not meant:
        return {}
    understood = {n: word for n, (word, _) in read.items() if word in ("train", "valid", "test")}
    spare = {n: "" for n, (word, _) in read.items() if word == "spare"}
    odd = [n + mark for n in names if n not in understood and n not in spare] + list(beside)
    plain = next((n for n, (word, rest) in read.items() if word == "train" and not rest), None)
    if odd and plain is not None and not any(word == "unclear" for word, _ in read.values()):
        strays = listed((name.removesuffix("/") for name in odd), 5)
        raise ValueError(
            f"has images beside {plain}{mark} that are in no split: {strays}; move them into one, or rename "
            f"{plain}{mark} if it is a class"
        )
    spelled: dict[str, str] = {}
    for name, split in understood.items():
        first = spelled.setdefault(split, name)
        if stem(name) != stem(first):
            raise ValueError(f"{first}{mark} and {name}{mark} both hold {split} images; merge them")
    stems = {read[n].rest for n in understood}
    if odd or len(stems) > 1 or "train" not in understood.values():
        why = "there are no training images" if not odd and len(stems) == 1 else "not all are understood"
        raise ValueError(
            f"has names that look like splits, but {why}: {listed([n + mark for n in names], 8)}; call them "
            f"train, valid and test, or rename what is a class"
        )
    return understood | spare


def read_paths(paths: Sequence[str]) -> list[Row | None]:
    """Return the split and class of each image by its path; None for an image that is left out.

    The layouts are: flat, CLASS/..., SPLIT/..., SPLIT/CLASS/..., CLASS/SPLIT/... and SPLIT_7.png. Without
    splits, all images are training images.

    Raises:
        ValueError: Something looks like a split and is not understood.
    """
    parts = [path.split("/") for path in paths]
    tops = list(dict.fromkeys(p[0] for p in parts if len(p) > 1))
    loose = [p[0] for p in parts if len(p) == 1]
    if not tops:
        return _by_file_names(loose)
    splits = read_splits(tops, loose)
    if splits:
        _once(splits)
        inner = {s: [p[1:] for p in parts if splits[p[0]] == s] for s in set(splits.values()) - {""}}
        doubled = {split for split, below in inner.items() if _is_doubled(split, below)}
        rows: list[Row | None] = []
        for p in parts:
            split = splits[p[0]]
            below = p[2:] if split in doubled else p[1:]
            rows.append(Row(split, below[0] if len(below) > 1 else "") if split else None)
            _no_split_in(below[:-1], split, "/".join(p))
        return rows
    seconds = list(dict.fromkeys(p[1] for p in parts if len(p) > 2))
    if any(word and not rest for word, rest in map(read_name, seconds)):
        strays = [f"{p[0]}/{p[1]}" for p in parts if len(p) == 2] + loose
        splits = read_splits(seconds, strays)
        _once(splits)
        for p in parts:
            _no_split_in(p[2:-1], splits[p[1]], "/".join(p))
        return [Row(split, p[0]) if (split := splits[p[1]]) else None for p in parts]
    for p in parts:
        _no_split_in(p[2:-1], "", "/".join(p))
    return [Row("train", p[0] if len(p) > 1 else "") for p in parts]


def without_wrapper(paths: Sequence[str]) -> list[str]:
    """Return paths without the folders that all of them have in common, up to one that names a split."""
    parts = [path.split("/") for path in paths]
    while parts and all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        if read_name(parts[0][0]).word:
            break
        parts = [p[1:] for p in parts]
    return ["/".join(p) for p in parts]


def _kind(token: str) -> str:
    if token in UNCLEAR:
        return "unclear"
    return "spare" if token in SPARE else WORDS.get(token, "")


def _by_file_names(names: Sequence[str]) -> list[Row | None]:
    stems = [name.rpartition(".")[0] or name for name in names]
    read = {read_name(stem) for stem in stems}
    several = {rest: {n.word for n in read if n.rest == rest and n.word} for rest in {n.rest for n in read}}
    if not any(len(words) > 1 for words in several.values()):
        return [Row("train", "") for _ in names]
    splits = read_splits(list(dict.fromkeys(stems)), mark="")
    return [Row(splits[stem], "") if splits[stem] else None for stem in stems]


def _is_doubled(split: str, below: Iterable[list[str]]) -> bool:
    """Return whether all is inside one more folder of the same split, as in seg_train/seg_train/."""
    tops = {p[0] if len(p) > 1 else "" for p in below}
    return len(tops) == 1 and "" not in tops and read_name(next(iter(tops))).word == split


def _once(splits: dict[str, str]) -> None:
    first: dict[str, str] = {}
    for name, split in splits.items():
        if split and first.setdefault(split, name) != name:
            raise ValueError(f"{first[split]}/ and {name}/ both hold {split} images; merge them")


def _no_split_in(folders: Iterable[str], split: str, path: str) -> None:
    """Refuse folders that look like a split where none is expected, except the name of their own split."""
    for folder in folders:
        word, rest = read_name(folder)
        if word and not rest and word != split:
            raise ValueError(
                f"has a folder {folder}/ that looks like a split where none is expected: {path}; put splits "
                f"above or below the classes, or rename it if it is a class"
            )
