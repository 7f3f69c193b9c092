"""Importing without looking for garbage, so that a command starts sooner."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Do not look for garbage inside the block, and leave out of later searches what was made in it.

    Modules make many objects that live as long as the process. Python would look through all of them for
    garbage again and again: a tenth of the processor time until the first step of a training.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
