"""Named data sets that are downloaded from the Hugging Face hub."""

from __future__ import annotations

import http.client
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from latentmix.data.decoding.damage import one_line
from latentmix.data.decoding.tables import decode_tables
from latentmix.data.names import LAYOUTS
from latentmix.data.split import Decoded

PATIENCE = 4.0  # seconds to wait for the hub's first answer; its own client retries for 23


@dataclass(frozen=True)
class _Hub:
    """A data set on the hub, downloaded once into the cache of the hub's client.

    Arguments:
        revision: Commit, tag or branch of the repository; None for its main branch.
    """

    revision: str | None = None

    repo: ClassVar[str]
    config: ClassVar[str | None] = None
    image_column: ClassVar[str] = "image"
    label_column: ClassVar[str] = "label"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    valid_size: ClassVar[int | None] = None

    def read(self, image_size: int) -> Decoded:
        import pyarrow.dataset as pads

        tables = {}
        for split, rows in self._download().items():
            # Class names are passed on in the schema's metadata, as in the hub's own parquet files.
            metadata = rows.features.arrow_schema.metadata
            tables[split] = pads.dataset(rows.data.table.replace_schema_metadata(metadata))
        return decode_tables(
            tables,
            image_size,
            image_column=self.image_column,
            label_column=self.label_column,
            valid_size=self.valid_size,
            where=self.repo,
        )

    def key(self) -> str:
        return f"{self.repo} {self.config} {self.revision}"

    def _download(self) -> dict[str, Any]:
        import datasets
        from huggingface_hub import constants

        instead = f"a local copy does instead, data=PATH: {LAYOUTS}"
        offline = constants.is_offline_mode() or not _answers(constants.ENDPOINT)
        try:
            with _offline() if offline else nullcontext():
                loaded = datasets.load_dataset(self.repo, self.config, revision=self.revision)
                return {split: loaded[split] for split in self.splits}
        except Exception as error:  # whatever the hub's client, its HTTP library or the disk may raise
            if offline:
                why = (
                    "offline mode is set"
                    if constants.is_offline_mode()
                    else f"{constants.ENDPOINT} does not answer"
                )
                raise FileNotFoundError(
                    f"{self.repo} is not on this machine yet and {why}; {instead}"
                ) from error
            raise FileNotFoundError(
                f"{self.repo} cannot be downloaded: {one_line(error)}; {instead}"
            ) from error


class MNIST(_Hub):
    """MNIST, handwritten digits, 28x28 grey: 60,000 training and 10,000 test images."""

    repo = "ylecun/mnist"
    config = "mnist"


class KMNIST(_Hub):
    """Kuzushiji-MNIST, ten handwritten Japanese characters, 28x28 grey: 60,000 training and 10,000 test."""

    repo = "tanganke/kmnist"


class FashionMNIST(_Hub):
    """Fashion-MNIST, ten kinds of clothes, 28x28 grey: 60,000 training and 10,000 test images."""

    repo = "zalando-datasets/fashion_mnist"
    config = "fashion_mnist"


class SVHN(_Hub):
    """Street View House Numbers, cropped digits, 32x32 RGB: 73,257 training and 26,032 test images.

    The `extra` images are not used. 7,326 of the training images are set aside for validation, as in AMR's
    published code.
    """

    repo = "ufldl-stanford/svhn"
    config = "cropped_digits"
    valid_size = 7_326


class CIFAR10(_Hub):
    """CIFAR-10, ten classes of objects and animals, 32x32 RGB: 50,000 training and 10,000 test images."""

    repo = "uoft-cs/cifar10"
    config = "plain_text"
    image_column = "img"


class CIFAR100(_Hub):
    """CIFAR-100, a hundred fine classes, 32x32 RGB: 50,000 training and 10,000 test images."""

    repo = "uoft-cs/cifar100"
    image_column = "img"
    label_column = "fine_label"


class CelebA(_Hub):
    """CelebA, faces of celebrities with 40 binary attributes; the label is `Male`; downloads about 12 GB.

    There are 162,770 training, 19,867 validation and 19,962 test images.
    """

    name = "celeba"
    repo = "flwrlabs/celeba"
    config = "img_align+identity+attr"
    label_column = "Male"
    splits = ("train", "valid", "test")


def _answers(endpoint: str) -> bool:
    """Return whether the server answers; a thread asks it, because a name lookup has no time limit."""
    answered = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # the hub's client has its own certificates
                return
        except (OSError, ValueError, http.client.HTTPException):
            return
        answered.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answered)


@contextmanager
def _offline() -> Iterator[None]:
    """Restrict the hub's client to its cache; its constants are set, as it read the environment on import."""
    import datasets.config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
