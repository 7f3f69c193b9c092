"""Bounds of numbers that options have without saying so: most of what is mistyped is far outside of them.

An option with other bounds has them in its type, as in ``Annotated[float, Field(gt=0, lt=1)]``.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Field

LARGEST = 1_000_000
DEEPEST = (
    1000  # layers or blocks: each is an object of its own, and a million of them would take hours to make
)
SEEDS = 2**31
EXACT = 2**53  # up to here whole numbers are exact as floating-point numbers
SMALLEST = 1e-30  # smaller numbers vanish or overflow in float32


def bounded(annotation: Any, name: str, default: Any, outside: bool) -> Any:
    """Return an annotation in which bare `int` and `float` have bounds.

    Numbers lie between 0 and a million, whole numbers from 1 on if the default is at least 1. Parts from
    outside this package may need other numbers and get wide bounds.

    Arguments:
        name: The option's name; a seed may be any whole number below 2^31, a depth at most 1,000.
        default: Its default.
        outside: Whether the part is not of this package.
    """
    if get_origin(annotation) in (Union, types.UnionType):
        members = tuple(bounded(each, name, default, outside) for each in get_args(annotation))
        return Union[members]  # noqa: UP007
    if annotation not in (int, float):
        return annotation
    if outside:
        return Annotated[annotation, Field(ge=-EXACT, le=EXACT)]
    if name == "seed":
        return Annotated[int, Field(ge=0, lt=SEEDS)]
    positive = annotation is int and isinstance(default, int) and default >= 1
    largest = DEEPEST if name in ("depth", "blocks") else LARGEST
    return Annotated[annotation, Field(ge=1 if positive else 0, le=largest)]


def not_a_number(value: Any) -> str:
    """Say what is wrong with floating-point numbers anywhere in a value; "" if nothing is."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"Input should be a finite number; got {value}"
        return f"{value} cannot be told from 0 in single precision" if 0 < abs(value) < SMALLEST else ""
    if isinstance(value, (int, str)):
        return ""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next((wrong for each in value if (wrong := not_a_number(each))), "")
    return ""
