"""The description of a method in a checkpoint: what is needed to build it, and what its run was.

A description is checked where it is read, because folders of runs come from other versions and other people.
"""

from __future__ import annotations

import json
from typing import Any


def parse(content: bytes) -> dict[str, Any]:
    """Read a description.

    Raises:
        ValueError: It is not JSON or no object.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("config.json is not readable as JSON") from None
    if not isinstance(found, dict):
        raise ValueError("config.json is no description of a method")
    return found


def what_is_wrong_with(found: Any, depth: int = 0) -> str:
    """Check what is needed to build the method; return what is wrong, "" if nothing is."""
    if not isinstance(found, dict):
        return "is no description of a method"
    counts, shape = (found.get("num_classes"), found.get("num_attributes")), found.get("shape")
    start, method = found.get("start"), found.get("method")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        return "names no method"
    if not isinstance(shape, list) or len(shape) != 3 or not all(_is_count(n) and n > 0 for n in shape):
        return f"has no shape of images, such as [1, 32, 32], but {shape!r:.60}"
    if not all(n is None or _is_count(n) for n in counts):
        return "has numbers of classes or attributes that are no numbers"
    if not all(_is_count(found.get(name, 0)) for name in ("epoch", "step", "best_epoch", "log")):
        return "has epochs or steps that are no numbers"
    if not all(isinstance(found.get(name, ""), str) for name in ("best", "label", "latentmix", "data")):
        return "has text of the wrong kind"
    if not isinstance(found.get("run", {}), dict):
        return "has settings of the wrong kind"
    if start is None:
        return ""
    return "starts from too many runs" if depth > 8 else what_is_wrong_with(start, depth + 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
