"""Text files that list one image per line, perhaps with its class: train.txt and test.txt, or labels.txt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from latentmix.data.decoding.layout import is_list_of_splits, read_name, split_of_list

TEXTS = (".txt", ".lst")
OTHERS = (".json", ".mat", ".pkl", ".pickle", ".npy", ".npz", ".xml", ".yaml", ".yml")  # never read
KINDS = (*TEXTS, *OTHERS)
NAME, LABEL = "file", "label"  # what the columns of such a list are called


def worth_reading(files: Iterable[str], images: Sequence[str]) -> list[str]:
    """Return the text files that may list images: those that do not have the name of a single image.

    Arguments:
        files: Paths of all files.
        images: Paths of the images.
    """
    stems = {PurePosixPath(image).stem for image in images}
    texts = [f for f in files if f.lower().endswith(KINDS) and PurePosixPath(f).stem not in stems]
    strange = [f for f in texts if not f.lower().endswith((*TEXTS, ".json"))]
    several = len({split_of_list(f) for f in strange} - {""}) > 1  # train_list.mat and test_list.mat
    return [f for f in texts if _may_be_a_list(f) and (several or f not in strange)]


def rows(path: str, raw: bytes, finds: Callable[[str], bool]) -> list[dict[str, str]]:
    """Read the rows of a text if at least half of its lines name an image; return [] for other texts.

    Arguments:
        path: The file's path, by whose extension other kinds of files are recognised.
        raw: The file's bytes.
        finds: Tells whether a word is the name of an image.
    """
    if not path.lower().endswith(TEXTS):
        return []
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return []
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if _most(lines, finds):  # names may have spaces in them
        return [{NAME: line} for line in lines]
    for separator in (None, ",", ";", "\t"):
        pairs = [line.rsplit(separator, 1) for line in lines]
        if all(len(pair) == 2 for pair in pairs) and _most([name for name, _ in pairs], finds):
            return [{NAME: name.strip(" \"'"), LABEL: label.strip(" \"'")} for name, label in pairs]
        columns = list(zip(*(line.split(separator) for line in lines)))
        named = next((column for column in columns if _most(column, finds)), ())
        if len(named) == len(lines):  # boxes or numbers beside the names are nothing to train on
            return [{NAME: name} for name in named]
    return []


def _may_be_a_list(file: str) -> bool:
    """Return whether a file may list images of a split, or all of them.

    A list of one class in one split, such as cat_train.txt, does not count, nor does a file of a kind that is
    never read, unless its name says that it divides images.
    """
    divides = bool(split_of_list(file)) or is_list_of_splits(file)
    word = read_name(PurePosixPath(file).stem).word
    return divides or not (word or file.lower().endswith(OTHERS))


def _most(names: Sequence[str], finds: Callable[[str], bool]) -> bool:
    return bool(names) and 2 * sum(map(finds, names)) >= len(names)
