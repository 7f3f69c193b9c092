"""Opening a trained run: its method is built from the description in its checkpoint and given its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import latentmix
from latentmix import config
from latentmix.config import reading
from latentmix.data import Data
from latentmix.data.names import name_of
from latentmix.methods import Method
from latentmix.methods.roles import Autoencodes, Decodes, Encodes
from latentmix.runs import at_hand, checkpoints
from latentmix.runs.description import what_is_wrong_with
from latentmix.runs.files import RunError
from latentmix.runs.folder import read_config


@dataclass(frozen=True)
class OpenRun:
    """A trained run, ready for use.

    Arguments:
        folder: The run's folder.
        config: The resolved configuration, nested.
        method: The trained method, in evaluation mode, on the device.
        shape: Shape of an image, (C, H, W).
        checkpoint: Name of the checkpoint that was read.
        weights_sha256: SHA-256 of the checkpoint's weights file.
        epoch: Number of epochs after which the checkpoint was saved.
        description: The description from which the method was built.
    """

    folder: Path
    config: dict[str, Any]
    method: Any
    shape: tuple[int, int, int]
    checkpoint: str
    weights_sha256: str
    epoch: int = 0
    description: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def which(self) -> str:
        """Name of the weights, such as ``best, epoch 3``."""
        return f"{self.checkpoint}, epoch {self.epoch}"

    def autoencoder(self, what: str) -> Autoencodes:
        """The method, as one that encodes and decodes.

        Arguments:
            what: What needs it, for the message.

        Raises:
            ValueError: It does not do both; the message names the run and one that would.
        """
        lacks = [
            f"no {half}"
            for half, role in (("encoder", Encodes), ("decoder", Decodes))
            if not isinstance(self.method, role)
        ]
        if not lacks:
            return cast(Autoencodes, self.method)
        name = name_of(type(self.method))
        raise ValueError(
            f"{self.folder} was trained by method={name}, which has {' and '.join(lacks)}; {what} needs an "
            f"encoder and a decoder: name a run of an autoencoder, such as method=amr"
        )


def describe(run: config.Run, data: Data) -> dict[str, Any]:
    """Describe the method of a run, so that `make_method` can build it, and what decides the run's numbers.

    Checkpoints keep this description: "run" and "data" are what the other files of the run are compared with.
    """
    start = None
    if run.start_from:
        opened = open_run(Path(run.start_from))
        start = {**opened.description, "weights_sha256": opened.weights_sha256}
    return {
        "method": run.method,
        "shape": list(data.shape),
        "num_classes": data.num_classes,
        "num_attributes": data.num_attributes,
        "start": start,
        "latentmix": latentmix.__version__,
        "run": run.as_dict(),
        "data": data.fingerprint,
    }


def make_method(description: Mapping[str, Any], start_from: Path | None = None) -> Method:
    """Build a method with random weights from its description.

    Arguments:
        start_from: The run whose method it builds on and whose weights it takes; None if a checkpoint will
            fill in all weights.

    Raises:
        ValueError: The method refuses its options or the data.
    """
    context: dict[str, Any] = {name: description.get(name) for name in ("num_classes", "num_attributes")}
    context["shape"] = tuple(description["shape"])
    if description.get("start") is not None:
        started = None if start_from is None else open_run(start_from).method
        context["start"] = started or make_method(description["start"])
    return config.build("method", config.stored_part("method", description["method"]), **context)


def open_run(
    folder: str | Path,
    device: str = "cpu",
    checkpoint: str | None = None,
    warn: Callable[[str], None] = print,
) -> OpenRun:
    """Open a trained run for use.

    Arguments:
        folder: The run's folder, or the name of a model that comes with latentmix, such as "digits".
        checkpoint: "best" or "last". By default the best epoch, as the method defines it; or the last one for
            methods that do not define which is best.

    Raises:
        RunError: The folder is not a run, has no checkpoint yet or only damaged ones, or its method cannot be
            built here.
    """
    folder = at_hand.find(folder, warn)
    if name := at_hand.meant(folder):
        raise RunError(f"{folder} does not exist; did you mean {name}, the model that comes with latentmix?")
    settings = read_config(folder, warn)
    if checkpoint not in (None, "best", "last"):
        raise RunError(f"checkpoint={checkpoint}: choose best or last")
    names = ("best", "last", "previous") if checkpoint is None else (checkpoint,)
    loaded = checkpoints.load(folder, names, warn, resume=False)
    if loaded is None:
        which = f" {checkpoint!r}" if checkpoint else ""
        raise RunError(f"{folder} has no checkpoint{which} yet; `latentmix train` writes one after an epoch")
    if checkpoint is None and loaded.name != "best" and loaded.description.get("best"):
        warn(f"{folder}: its best checkpoint is gone; using {loaded.name!r}")
    try:
        if wrong := what_is_wrong_with(loaded.description):
            raise ValueError(f"the description in its checkpoint {wrong}")
        method = make_method(loaded.description)
    except ValueError as error:
        version = reading.shorten(loaded.description.get("latentmix", "an earlier version"), quoted=False)
        raise RunError(
            f"{folder} was written by latentmix {version} and its method cannot be built here: {error}"
        ) from error
    checkpoints.fill(method, loaded.weights, folder)
    method = method.eval().to(device)
    method = method.to(memory_format=method.memory_format)  # type: ignore[call-overload]
    return OpenRun(
        folder,
        settings,
        method,
        tuple(loaded.description["shape"]),
        loaded.name,
        loaded.weights_sha256,
        loaded.description.get("epoch", 0),
        loaded.description,
    )
