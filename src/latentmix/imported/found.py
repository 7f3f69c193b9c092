"""The result of importing a model, and what importers share: pixel ranges, JSON, errors of foreign code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field
from torch import Tensor

from latentmix.networks import AutoencodingNetwork

Range = tuple[float, float]  # values of black and white
Level = Annotated[float, Field(ge=-1e6, le=1e6)]  # one of them
SAFE = "save the weights as safetensors, or export encoder and decoder to ONNX"


class Found(NamedTuple):
    """An imported model: its network, the shape of its images, its weights, and its title."""

    network: AutoencodingNetwork
    shape: tuple[int, int, int]
    weights: Mapping[str, Tensor]
    title: str


def settled(pixels: Range | None) -> Range:
    """Return the values of black and white, checked.

    Raises:
        ValueError: They are unknown, or black is not below white.
    """
    if pixels is None:
        raise ValueError(
            "this model does not say which values stand for black and white; give --range 0,1 or --range -1,1"
        )
    if not all(map(math.isfinite, pixels)):
        raise ValueError(f"--range {pixels[0]:g},{pixels[1]:g}: two finite numbers are expected, such as 0,1")
    if not pixels[0] < pixels[1]:
        raise ValueError(f"--range {pixels[0]:g},{pixels[1]:g}: black comes first, and is less than white")
    return pixels


def called(half: Any, x: Tensor, what: str) -> Tensor:
    """Call foreign code.

    Arguments:
        what: Name of the code, for the message.

    Raises:
        ValueError: It raised any error.
    """
    try:
        return half(x)
    except Exception as error:  # foreign code may raise anything
        raise ValueError(f"{what} fails with {type(error).__name__}: {first_line(error)}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: The file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not readable as JSON") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not an object with settings")
    return content


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 200 characters, or else its class."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
