"""Settings: YAML files and ``key=value`` words are read, validated and returned as a frozen `Run`.

All mistakes are reported at once, each with its dotted path and the nearest valid name.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from latentmix.config import catalogue, protocol, reading
from latentmix.config.bounds import not_a_number
from latentmix.config.run import Run

DEFAULTS: dict[str, Any] = {"method": "amr", "data": "digits"}
EPOCHS = 10
DROPS = [1 / 3, 2 / 3]


class ConfigError(ValueError):
    """Everything that is wrong with a configuration, one line per mistake."""


def load(arguments: Iterable[str], values: Mapping[str, Any] = MappingProxyType({})) -> Run:
    """Read and validate ``[CONFIG.yaml ...] [key=value ...]``; later settings override earlier ones.

    Arguments:
        values: More settings, which come last: {key: value}; a key may be a dotted path.

    Raises:
        ConfigError: The settings are wrong; the message names every mistake.
        FileNotFoundError: A YAML file does not exist.
    """
    return resolve(read(arguments, values))


def read(arguments: Iterable[str], values: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Read settings as `load` does into nested dictionaries, without validating them."""
    settings: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if equals and not _finds(Path.is_file, argument):
            _merge(settings, _nested(key, reading.typed(text)))
        else:
            _merge(settings, _read_yaml(argument))
    for key, value in values.items():
        _merge(settings, _nested(key, value))
    return settings


def resolve(settings: Mapping[str, Any]) -> Run:
    """Validate a nested dictionary of settings and fill in every default.

    Raises:
        ConfigError: The settings are wrong; the message names every mistake with its dotted path.
    """
    settings = protocol.filled({**DEFAULTS, **settings})
    errors: list[str] = []
    values: dict[str, Any] = {}
    hints = _hints()
    for key, value in settings.items():
        if key in ("method", "data"):
            values[key] = _part(key, value, key, errors)
        elif key in hints:
            values[key] = _plain(hints[key], value, key, errors)
        else:
            errors.append(f"{key}: unknown key{_nearest(key, hints)}; keys are {', '.join(hints)}")
    for key in ("out", "start_from"):
        if isinstance(place := values.get(key), str):
            values[key] = _place(place, key, errors)
    if values.get("steps") and values.get("epochs"):
        errors.append("steps, epochs: give one of them")
    if values.get("schedule") == "step":
        values["drops"] = values.get("drops") or DROPS
    elif values.get("drops") and not any(error.startswith("drops") for error in errors):
        errors.append(f"drops: schedule={values.get('schedule', Run.schedule)} has none; add schedule=step")
    if errors:
        raise ConfigError("\n".join(errors))
    make = _look_up("method", values["method"]["name"]).make
    values.setdefault("lr", getattr(make, "lr", Run.lr))
    values.setdefault("batch_size", getattr(make, "batch_size", Run.batch_size))
    if not values.get("steps"):
        values["epochs"] = values.get("epochs") or EPOCHS
    if values.get("start_from"):
        values["start_from"] = str(Path(values["start_from"]).resolve())
    if not values.get("out"):
        from latentmix.data import name_of_path

        data = values["data"]
        name = name_of_path(data["path"]) if "path" in data else data["name"]
        method = values["method"]["name"].rpartition(":")[2]
        name = name.rpartition(":")[2]
        values["out"] = f"runs/{name}-{method}-seed{values.get('seed', 0)}"
    return Run(**values)


def metrics(arguments: Iterable[str], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Read ``[METRIC ...] [METRIC.option=value ...]`` and fill in every default: {metric: {option: value}}.

    Arguments:
        seed: Seed of the metrics for which no other seed is given.

    Raises:
        ConfigError: Metrics or options are unknown, or values do not fit; the message names every mistake.
    """
    settings: dict[str, dict[str, Any]] = {}
    errors: list[str] = []
    for argument in arguments:
        path, equals, text = argument.partition("=")
        outside = re.fullmatch(r"(.+:[A-Za-z_]\w*)(?:\.(\w+))?", path)
        name, option = outside.groups(default="") if outside else path.partition(".")[::2]
        if bool(equals) != bool(option):
            errors.append(f"{argument}: expected METRIC or METRIC.option=value")
        else:
            settings.setdefault(name, {"seed": seed}).update({option: reading.typed(text)} if equals else {})
    resolved = {
        name: _part("metric", {"name": name, **given}, name, errors) for name, given in settings.items()
    }
    if errors:
        raise ConfigError("\n".join(errors))
    return {name: {k: v for k, v in spec.items() if k != "name"} for name, spec in resolved.items()}


def resolve_part(kind: str, spec: Any, errors: list[str]) -> dict[str, Any]:
    """Resolve the spec of a part, with all options; mistakes are added to `errors`."""
    return _part(kind, spec, kind, errors)


def make(kind: str, spec: Any) -> Any:
    """Make a part that is given by its name, or by its name and some of its options.

    Raises:
        ConfigError: There is no such part, or it has no such options; the message names every mistake.
    """
    errors: list[str] = []
    resolved = resolve_part(kind, spec, errors)
    if errors:
        raise ConfigError("\n".join(errors))
    return build(kind, resolved)


def wrong_values(settings: Mapping[str, Any]) -> list[str]:
    """List the plain settings, all except method and data, whose values do not fit."""
    errors: list[str] = []
    for key, annotation in _hints().items():
        if key not in ("method", "data"):
            _plain(annotation, settings[key], key, errors)
    return errors


def build(kind: str, spec: Mapping[str, Any], **context: Any) -> Any:
    """Make the part that a resolved spec describes.

    Arguments:
        context: Arguments that are not configuration (`catalogue.CONTEXT`); passed on if the part takes them.

    Raises:
        ValueError: The part refuses its options or the context.
    """
    part = _look_up(kind, spec["name"])
    options = {}
    for name, value in spec.items():
        if name != "name":
            if name not in part.options:
                raise ConfigError(
                    f"{kind} {spec['name']} has no option {name!r}{_nearest(name, part.options)}"
                )
            inner = catalogue.kind_of(part.options[name][0])
            options[name] = build(inner, value) if inner and value is not None else value
    takes = _takes(part.make)
    return part.make(**{k: v for k, v in context.items() if k in takes}, **options)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the values in which two nested configurations differ, as lines ``key: old -> new``."""
    a, b = flat(old), flat(new)
    return [f"{k}: {a.get(k)} -> {b.get(k)}" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as {"dotted.key": value}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _look_up(kind: str, name: str) -> catalogue.Part:
    part = catalogue.get(kind, name)
    if part is None:
        raise catalogue.PartError(f"no {kind} is named {name!r}{_nearest(name, catalogue.find(kind))}")
    return part


def _part(
    kind: str, value: Any, path: str, errors: list[str], default: Any = None, needs: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Resolve a name, or a mapping with a name and options, to a complete spec; add mistakes to `errors`."""
    spec = dict(value) if isinstance(value, Mapping) else {"name": value}
    if "name" not in spec:
        if default is None and kind in DEFAULTS:
            spec["name"] = DEFAULTS[kind]
        else:
            spec = {**_spec_of(default, kind), **spec}
    name = spec.pop("name")
    if isinstance(name, reading.Word):
        name = str(name)
        if kind == "data" and reading.exists(name) and name in catalogue.find(kind):
            warnings.warn(f"data={name} is the built-in set; data=./{name} is what lies here", stacklevel=2)
    try:
        part = catalogue.get(kind, name) if isinstance(name, str) else None
        if part is None and kind == "data" and isinstance(name, str) and _is_path(name):
            from latentmix.data import from_path  # imported late, because it imports torch

            spec = {**_spec_of(from_path(name), kind), **spec}
            name = spec.pop("name")
            part = catalogue.get(kind, name)
    except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: ~user has no home folder
        errors.append(f"{path}: {error}")
        return {"name": name}
    if part is None:
        known = catalogue.find(kind)
        others = ", ".join(known) + (", or the path of a folder or .npz file" if kind == "data" else "")
        wrong = f"no {kind} is named {reading.shorten(name)}{_nearest(name, known)}; there are {others}"
        errors.append(f"{path}: {f'name one of {others}' if name is None else wrong}")
        return {"name": name}
    if missing := part.without(*needs):
        able = [n for n, p in catalogue.find(kind).items() if not p.without(*needs)]
        errors.append(f"{path}: {name} builds no {' and no '.join(missing)}; {', '.join(able)} do")
        return {"name": name}
    resolved: dict[str, Any] = {"name": name}
    options = part.options
    for key in spec:
        if key not in options:
            named = ", ".join(options) or "none"
            errors.append(
                f"{path}.{key}: unknown option of {name}{_nearest(key, options)}; options are {named}"
            )
    count = len(errors)
    for key, (annotation, fallback) in options.items():
        inner = catalogue.kind_of(annotation)
        if inner:
            builds = catalogue.builders(annotation) if inner == "network" else ()
            resolved[key] = _part(inner, spec.get(key, {}), f"{path}.{key}", errors, fallback, builds)
        elif key in spec:
            resolved[key] = _plain(annotation, spec[key], f"{path}.{key}", errors)
        elif fallback is inspect.Parameter.empty:
            errors.append(f"{path}.{key}: missing, and {name} needs it")
        else:
            resolved[key] = fallback
        if isinstance(resolved.get(key), tuple):
            resolved[key] = list(resolved[key])  # YAML has no tuples
    if kind == "data" and isinstance(resolved.get("path"), str):
        if not resolved["path"].strip():
            errors.append(f"{path}.path: is empty; . is the current folder")
        try:
            resolved["path"] = str(Path(resolved["path"]).expanduser().resolve())
        except (ValueError, RuntimeError) as error:
            errors.append(f"{path}.path: {error}")
    if len(errors) == count and kind not in ("method", "metric"):  # those need the data
        try:
            made = build(kind, resolved)
        except ValueError as error:
            errors.append(f"{path}.{error}")
        else:
            if kind == "mixer" and ":" in name and (wrong := what_is_wrong_with(made)):
                errors.append(f"{path}: {name} {wrong}")
    return resolved


def what_is_wrong_with(mixer: Any) -> str:
    """Check what every mixer promises by one draw, and return what is wrong; "" if nothing is.

    The first row of partners must be the batch itself, every row a permutation, and weights must sum to one.
    """
    import torch

    h = torch.zeros(8, 4, 2, 2)
    try:
        mix = mixer(h, torch.Generator().manual_seed(0))
    except Exception as error:
        return f"cannot mix codes of shape (8, 4, 2, 2): {type(error).__name__}: {error}"
    own = torch.arange(8)
    if not torch.equal(mix.partners[0], own) or not all(
        torch.equal(r.sort().values, own) for r in mix.partners
    ):
        return "must draw permutations of the batch as partners, and the batch itself as the first"
    total = mix.weights.sum(0)
    if not torch.allclose(total, torch.ones_like(total), atol=1e-4):
        return f"draws weights that sum to {total.mean():.3g}; they must sum to one"
    return ""


def _place(place: str, path: str, errors: list[str]) -> str:
    """A path with the home folder instead of ~; mistakes are added to `errors`."""
    try:
        if b"\0" in os.fsencode(place):
            errors.append(
                f"{path}: no name of a file can hold a null character; got {reading.shorten(place)}"
            )
        return str(Path(place).expanduser()) if place.startswith("~") else place
    except UnicodeEncodeError:
        errors.append(f"{path}: {reading.shorten(place)} cannot be the name of a file")
    except RuntimeError as error:  # there is no user of this name
        errors.append(f"{path}: {error}; ./{place} is the folder of this name here")
    return place


def _spec_of(part: Any, kind: str) -> dict[str, Any]:
    """Return the spec of a part that is a frozen dataclass."""
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return {"name": None}
    return {"name": catalogue.spelled(type(part), kind), **dataclasses.asdict(part)}


def _plain(annotation: Any, value: Any, path: str, errors: list[str]) -> Any:
    value = reading.read_value(annotation, value)
    if wrong := not_a_number(value):
        errors.append(f"{path}: {wrong}")
        return value
    try:  # booleans are validated strictly, as pydantic would take true for 1
        return _adapter(annotation).validate_python(value, strict=isinstance(value, bool) or None)
    except ValidationError as error:
        reasons = " or ".join(list(dict.fromkeys(e["msg"] for e in error.errors()))[:3])
        errors.append(f"{path}: {reasons}; got {reading.shorten(value)}")
        return value


# Cached, because making each takes ten times as long as using it.
_adapter = cache(TypeAdapter)
_hints = cache(lambda: inspect.get_annotations(Run, eval_str=True))
_takes = cache(lambda make: frozenset(inspect.signature(make).parameters))


def _nearest(word: Any, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(words), n=1, cutoff=0.5)  # keys in YAML may be numbers
    return f" (did you mean {close[0]}?)" if close else ""


def _is_path(name: str) -> bool:
    return any(mark in name for mark in "/\\~") or name.endswith(".npz") or reading.exists(name)


def _finds(ask: Callable[[Path], bool], name: str) -> bool:
    """Ask about the file at a path; the answer is no if the name is too long to be a path."""
    try:
        return ask(Path(name))
    except OSError:
        return False


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, dot, rest = key.partition(".")
    return {first: _nested(rest, value) if dot else value}


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Merge recursively; a part that is given by its name keeps its options, unless the name changes."""
    for key, value in new.items():
        old = into.get(key)
        if isinstance(value, reading.Inline) and old is None:
            into[key] = value
        elif isinstance(value, Mapping):
            if not isinstance(old, dict):
                old = {} if old is None else {"name": old}
            if "name" in value and old.get("name") not in (None, value["name"]):
                old = {}
            into[key] = old
            _merge(old, value)
        elif isinstance(old, dict) and value is not None:
            into[key] = {**old, "name": value} if old.get("name") in (None, value) else value
        else:
            into[key] = value


def _read_yaml(path: str) -> Mapping[str, Any]:
    if _finds(Path.is_dir, path):
        raise ConfigError(f"{path} is a folder, not a YAML file; if it holds data, write data={path}")
    if not reading.exists(path):
        raise FileNotFoundError(f"{path}: no such file; give a YAML file or key=value")
    try:
        return reading.read_yaml(path)
    except ValueError as error:
        raise ConfigError(str(error)) from error
