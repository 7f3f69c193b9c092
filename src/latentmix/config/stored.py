"""Settings of runs that exist: read back from folders of this version, an earlier one, or somebody else's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from latentmix.config import settings as current
from latentmix.config.run import YOUNGER, Run
from latentmix.config.settings import ConfigError

OUTSIDE = ("out", "device")  # a run's folder may be moved, and it may go on on another device
LENGTHS = ("epochs", "steps")  # a run may be trained for longer


class UnknownSettings(ConfigError):
    """Settings of a later version."""


def stored(found: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names and types of a run's settings, and fill in those that earlier versions did not have.

    Method and data are checked only when they are built (`stored_part`), so that a run can be described
    whose method is not installed.

    Raises:
        UnknownSettings: Settings that this version does not have.
        ConfigError: Settings are missing or of the wrong kind; the message names all of them.
    """
    fields = {field.name: field for field in dataclasses.fields(Run)}
    younger = {name: fields[name].default for name in YOUNGER} | {"every": {}, "validate_every": 1}
    found = younger | dict(found)
    if missing := [name for name in fields if name not in found]:
        raise ConfigError(f"it lacks {', '.join(missing)}")
    if unknown := [key for key in found if key not in fields]:
        raise UnknownSettings(f"this version of latentmix does not know {', '.join(map(str, unknown))}")
    errors = [
        f"{kind} has no name"
        for kind in ("method", "data")
        if not isinstance(spec := found[kind], Mapping) or not isinstance(spec.get("name"), str)
    ]
    errors += current.wrong_values(found)
    if not found["epochs"] and not found["steps"]:
        errors.append("neither epochs nor steps is a number")
    if errors:
        raise ConfigError("; ".join(errors))
    return found


def stored_part(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Check the spec of a part against the part of this version, and fill in options that it did not have.

    Raises:
        ConfigError: The part or one of its options is unknown here, or a value does not fit.
    """
    errors: list[str] = []
    resolved = current.resolve_part(kind, spec, errors)
    if errors:
        raise ConfigError("; ".join(errors))
    return resolved


def moved(spec: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the spec of the data that now lie at another path; options are kept if the kind is the same.

    Raises:
        ConfigError: Nothing that can be read lies there.
    """
    there = stored_part("data", {"name": path})
    if there["name"] == spec.get("name") and "path" in there:
        return stored_part("data", {**spec, "path": there["path"]})
    return there


def changed(found: Mapping[str, Any], known: Mapping[str, Any], *, longer: bool) -> list[str]:
    """List where settings differ from those that a checkpoint was trained with: "seed: 7 -> 5".

    Arguments:
        longer: Whether the settings may be those of a longer training, which has not saved anything yet.
    """
    same = {key: found.get(key) for key in OUTSIDE}
    for key in LENGTHS if longer else ():
        before, after = known.get(key), found.get(key)
        if isinstance(before, int) and isinstance(after, int) and after >= before:
            same[key] = after
    return current.difference({**known, **same}, found)
