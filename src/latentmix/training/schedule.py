"""How learning rates change over a training, and how often it pays to validate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from latentmix.config.run import Run, Schedule
from latentmix.data import Data

# An image is validated in a fifteenth of the time of its training step (AMR), so with three times as many
# images validation takes a sixth of the run. Below FEW images it takes no time worth a word.
AFFORDED, FEW = 3, 4000
FALL = 0.1  # factor of each drop, as in the published schedules of both papers' code


def pace(schedule: Schedule, done: float, drops: Sequence[float] = ()) -> float:
    """Return the factor on every learning rate, from 1 at the start of the training.

    Arguments:
        schedule: "constant": 1. "linear": 1 - done. "cosine": (1 + cos(pi done)) / 2 (Loshchilov and Hutter,
            "SGDR", ICLR 2017, equation 5, one period). "step": 0.1 to the power of the number of drops at or
            before `done`.
        done: Share of the training that is complete, in [0, 1).
        drops: Shares of the training, each in (0, 1), at which "step" falls.
    """
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if schedule == "step":
        return FALL ** sum(done >= drop for drop in drops)
    return 1.0


def long_validation(run: Run, data: Data) -> str:
    """A hint to validate more rarely, for small training sets beside large ones to validate on; or ""."""
    trained, validated = len(data.train) * run.validate_every, len(data.valid) + len(data.test)
    every = math.ceil(validated / (AFFORDED * len(data.train)))
    epochs = run.epochs or math.inf
    if run.protocol == "paper" or validated < FEW or not run.validate_every < every <= epochs:
        return ""
    return (
        f"{trained:,} images are trained on between validations of up to {validated:,}; "
        f"with validate_every={every} validation takes a smaller part of the time"
    )
