"""Loading: from a source or a path to the training, validation and test splits of a run."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmix.data.found import Found, listed
from latentmix.data.names import LAYOUTS, name_of, name_of_path
from latentmix.data.split import SPLITS, Columns, Data, Source, Split

if TYPE_CHECKING:
    import torch

PICKLED = {"data_batch_1": "cifar10", "batches.meta": "cifar10", "meta": "cifar100"}


def load(
    source: Source,
    *,
    image_size: int,
    classes: Sequence[int] | None = None,
    train_size: int | None = None,
    subset: str = "drawn",
    labelled: int | None = None,
    attributes: Sequence[str] | None = None,
    hold_out: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Data:
    """Read a source, once decoded from the cache, and cut it into training, validation and test images.

    A source's own splits are kept. A missing one is held out of the N training images that have a label (or
    of all, without labels): the last `valid_size` rows, or min(10000, N // 5), of a fixed permutation that no
    seed changes, as in the published code of AMR; MNIST gives 50,000 / 10,000 / 10,000.

    Arguments:
        image_size: Side of the square images, in pixels.
        classes: Classes whose images are kept, in all splits; labels stay what they are. All if None.
        train_size: How many training images to keep (smaller sets nest in larger ones); all if None.
            Validation and test images do not depend on it.
        subset: Whether they are "drawn" by `seed` or are the "first" ones, the same for every seed, as in the
            published code of AMR.
        labelled: How many of them keep their label, as many of each class as can be, chosen by `seed`; the
            others get the label -1. All if None.
        attributes: Names of the attributes to keep, in this order; all if None.
        hold_out: {name of a factor, an attribute or "label": values}: images that have one of the values in
            every one of these columns are left out of the training and validation images, and stay among the
            test images.

    Raises:
        ValueError: Bad images or columns, too few images to split or of a class, fewer of them than
            `train_size` or `labelled`, a split without images, or names and values that the data do not have.
        FileNotFoundError: The source is not there.
    """
    from latentmix.data import subset as subsets
    from latentmix.data.cache import through_cache

    decoded, fingerprint = through_cache(source, image_size, _name(source))
    train, valid, test = (_split(decoded.splits[split]) for split in SPLITS)
    data = Data(
        _name(source),
        train,
        valid,
        test,
        decoded.class_names,
        decoded.attribute_names,
        fingerprint,
        decoded.factor_names,
        source=name_of(type(source)),
        found=decoded.found,
    )
    if classes is not None:
        data = subsets.keep_classes(data, classes)
    if attributes is not None:
        data = subsets.keep_attributes(data, attributes)
    if hold_out:
        data = subsets.hold_out(data, hold_out)
    if train_size is not None:
        data = subsets.keep_images(data, train_size, None if subset == "first" else seed)
    if labelled is not None:
        data = subsets.keep_labels(data, labelled, seed)
    return dataclasses.replace(data, found=_with_kept(data)).to(device)


def _with_kept(data: Data) -> Found:
    """Return what was found in the source, with a note about how much of it the settings keep."""
    found, kept = data.found, []
    for split in SPLITS:
        of, columns = found.images.get(split), getattr(data, split)
        if of and len(columns) != sum(of.values()):
            kept.append(f"{len(columns):,} {split} images")
        labels = 0 if columns.labels is None else int((columns.labels >= 0).sum())
        if of and len(columns) > labels != sum(count for name, count in of.items() if name):
            kept.append(f"the labels of {labels:,} {split} images")
    note = f"the settings keep {listed(kept)} of these"
    return dataclasses.replace(found, notes=(*found.notes, note)) if kept else found


def from_path(path: str | Path) -> Source:
    """Choose the source that can read what is at `path`.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: It has no layout that can be read.
    """
    from latentmix.data.decoding.walk import files_below, is_image_file
    from latentmix.data.sources.archive import Archive
    from latentmix.data.sources.celeba_folder import CelebAFolder
    from latentmix.data.sources.folder import Folder
    from latentmix.data.sources.idx import Idx
    from latentmix.data.sources.npz import Npy, Npz
    from latentmix.data.sources.parquet import Parquet
    from latentmix.data.sources.saved import SavedToDisk
    from latentmix.data.sources.zappos import Zappos

    root = Path(path).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; data can be {LAYOUTS}")
    if not root.is_dir():
        alone: Any = {
            ".npz": Npz,
            ".npy": Npy,
            ".parquet": Parquet,
        }.get(root.suffix.lower())
        if alone is not None:
            return alone(str(root))
        if Archive.fits([root]):
            return Archive(str(root))
        kind = f"a {root.suffix} file" if root.suffix else "a file without a suffix"
        raise ValueError(f"{path} is {kind}; data can be {LAYOUTS}")
    if CelebAFolder.fits(root):
        return CelebAFolder(str(root))
    if Zappos.fits(root):
        return Zappos(str(root))
    if SavedToDisk.fits(root):
        return SavedToDisk(str(root))
    files = files_below(root)
    if Parquet.fits(files):
        return Parquet(str(root))
    if any(is_image_file(file) for file in files):
        return Folder(str(root))
    if any(file.suffix.lower() == ".parquet" for file in files):
        return Parquet(str(root))
    if Idx.fits(files):
        return Idx(str(root))
    if any(file.parent == root and file.suffix.lower() == ".npy" for file in files):
        return Npy(str(root))
    if Archive.fits(files):
        return Archive(str(root))
    if pickled := next((set_of for mark, set_of in PICKLED.items() if mark in {f.name for f in files}), None):
        raise ValueError(
            f"{path} holds pickled batches of CIFAR, and nothing is ever unpickled; data={pickled} downloads "
            f"the same images, or take the parquet files of uoft-cs/{pickled}"
        )
    raise ValueError(f"{path} {_contents(root.iterdir())}; data can be {LAYOUTS}")


def _contents(entries: Iterable[Path]) -> str:
    names = sorted(p.name + "/" * p.is_dir() for p in entries)
    if not names:
        return "is an empty folder"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"holds no images or parquet files, only {', '.join(names[:5])}{more}"


def _split(columns: Columns) -> Split:
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to images
        arrays = (getattr(columns, f.name) for f in dataclasses.fields(columns))
        return Split(*(None if a is None else torch.from_numpy(a) for a in arrays))  # type: ignore[arg-type]


def _name(source: Source) -> str:
    path = getattr(source, "path", None)
    return str(getattr(source, "name", name_of(type(source)))) if path is None else name_of_path(path)
