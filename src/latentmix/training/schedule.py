"""How learning rates change over a training, and how often it pays to validate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from latentmix.config.run import Run, Schedule
from latentmix.data import Data

# An image is validated in a tenth of the time of its training step (AMR), so with 1.75 times as many images
# validation takes 15 % of the run. Below FEW images it takes no time worth a word.
AFFORDED, FEW = 1.75, 4000
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


def validation_period(run: Run, data: Data) -> int:
    """Return the number of epochs between validations: the run's, or what few training images can afford."""
    if run.validate_every:
        return run.validate_every
    validated = len(data.valid) + len(data.test)
    if run.protocol == "paper" or validated < FEW:
        return 1
    return max(1, math.ceil(validated / (AFFORDED * len(data.train))))
