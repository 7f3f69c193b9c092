"""The events of a run for TensorBoard: numbers, settings (hparams) and pictures.

They are written by torch's `SummaryWriter`, to which Weights & Biases and trackio attach themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


class Board:
    """Writes the events of one run.

    Arguments:
        folder: The run's folder.
        begun: The step that the training goes on from; events of later steps are not shown any more.
        settings: The run's settings, of which TensorBoard makes a table with a row for each run.
        best: Name of the validation value that chooses the epoch; empty for none.
    """

    def __init__(self, folder: Path, begun: int, settings: Mapping[str, Any], best: str) -> None:
        from torch.utils.tensorboard import SummaryWriter  # importing it takes longer than a step
        from torch.utils.tensorboard.summary import hparams

        # An error of the writer's thread is kept, and the next call raises it: not to be shown twice.
        self._shows = threading.excepthook
        threading.excepthook = self._show
        self._writer = SummaryWriter(str(folder), purge_step=begun or None)
        shown = {f"valid/{prefix}{best}": 0.0 for prefix in ("", "test_")} if best else {}
        writer = self._writer._get_file_writer()  # `add_hparams` would make a folder of its own
        for summary in hparams(flat(settings), shown):
            writer.add_summary(summary)

    def numbers(self, kind: str, values: Mapping[str, float], step: int) -> None:
        """Write values as KIND/NAME."""
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def pictures(self, pictures: Mapping[str, Tensor], step: int) -> None:
        """Write pictures (H, W, C), uint8, by their names."""
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        try:
            self._writer.close()
        finally:
            threading.excepthook = self._shows

    def _show(self, error: threading.ExceptHookArgs) -> None:
        if type(error.thread).__name__ != "_AsyncWriterThread":
            self._shows(error)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as they are typed: {"method": {"name": "amr", "lamb": 10}} to method=amr, method.lamb=10.

    None is left out; lists become text.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        key = prefix.rstrip(".") if name == "name" and prefix else f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{key}.")
        elif value is not None:
            found[key] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
