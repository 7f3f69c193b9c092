"""How the learning rates of a run change over its training: a function of the share that is done."""

from __future__ import annotations

import math
from collections.abc import Sequence

from latentmix.config.run import Schedule

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
