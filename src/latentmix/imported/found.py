"""What a reader finds at a path, and what readers share: ranges of pixels, JSON, other people's errors."""

from __future__ import annotations

import json
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
    """What lies at a path: a network, its images, its weights, and what to call it."""

    network: AutoencodingNetwork
    shape: tuple[int, int, int]
    weights: Mapping[str, Tensor]
    title: str


def settled(pixels: Range | None) -> Range:
    if pixels is None:
        raise ValueError(
            "this model does not say which values stand for black and white; give --range 0,1 or --range -1,1"
        )
    if not pixels[0] < pixels[1]:
        raise ValueError(f"--range {pixels[0]:g},{pixels[1]:g}: black comes first, and is less than white")
    return pixels


def called(half: Any, x: Tensor, what: str) -> Tensor:
    try:
        return half(x)
    except Exception as error:  # what somebody else's code or file raises
        raise ValueError(f"{what} fails with {type(error).__name__}: {first_line(error)}") from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not readable as JSON") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no settings")
    return content


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
