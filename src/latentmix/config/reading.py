"""Reading of settings, typed or in YAML files: the type of an option decides how its words are read.

What is typed without quotes is a `Word`. Only the annotation of the option decides whether it is a number, so
a folder called 2024, a column called no, and a date keep their spelling. Numbers are decimal: 010 is ten, and
1:00, 0x10 and 1_000 are not numbers.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

LARGEST = 1 << 20  # maximum size of a YAML file, in bytes
DEEPEST = 20  # maximum depth of nesting
SHOWN = 120  # maximum number of characters with which a message shows a value
COLLECTIONS = (list, tuple, dict, Sequence)
PLAIN = (bool, int, float, str, types.NoneType)  # values of these types need no reading
_WHOLE = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NOT_FINITE = {".nan": "nan", "nan": "nan", ".inf": "inf", "inf": "inf", "-.inf": "-inf", "-inf": "-inf"}
_YES, _NO = ("true", "yes", "on"), ("false", "no", "off")
_NONE = ("null", "none", "~", "")


class Word(str):
    """Text that was typed without quotes."""

    __slots__ = ()


class Inline(dict[str, Any]):
    """A mapping that was typed in braces, together with its original text."""

    text: str = ""


def typed(text: str) -> Word | Inline:
    """Read the value of a setting: a word, or a mapping in braces such as {name: folder, path: x}."""
    if text.lstrip().startswith("{") and not exists(text):
        try:
            found = parse(text)
        except ValueError:
            return Word(text)
        if isinstance(found, dict):
            inline = Inline(found)
            inline.text = text
            return inline
    return Word(text)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read the keys and values of a YAML file; values without quotes are `Word`s.

    Raises:
        ValueError: The file is too long or nested too deeply, is not UTF-8, YAML or a mapping, or contains a
            repeated key, an alias or a tag.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as stream:
        raw = stream.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise ValueError(f"{path}: longer than {LARGEST:,} bytes, too long for settings")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8, from byte {error.start} on") from None
    try:
        found = parse(text)
    except ValueError as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(found, dict):
        kind = "a list" if isinstance(found, list) else "nothing" if found is None else shorten(found)
        raise ValueError(f"{path}: expected keys and values, got {kind}")
    return found


def parse(text: str) -> Any:
    """Parse a YAML text to dictionaries, lists, `str` for quoted text and `Word` for text without quotes.

    Raises:
        ValueError: The text is not YAML, is nested too deeply, or contains a repeated key, an alias or a tag.
    """
    result: list[Any] = []
    open_ones: list[Any] = []  # open lists, and open dictionaries, each with the key that awaits its value
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"aliases (*{event.anchor}) are not supported; write the value again")
            if (tag := getattr(event, "tag", None)) not in (None, "!"):
                raise ValueError(f"tags ({tag}) are not supported; write plain values")
            if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                new: Any = [] if isinstance(event, yaml.SequenceStartEvent) else [{}, None]
                open_ones.append((new, isinstance(event, yaml.MappingStartEvent)))
                if len(open_ones) > DEEPEST:
                    raise ValueError(f"nested deeper than {DEEPEST} levels")
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                done, is_mapping = open_ones.pop()
                _put(open_ones, result, done[0] if is_mapping else done)
            elif isinstance(event, yaml.ScalarEvent):
                _put(open_ones, result, Word(event.value) if event.style is None else event.value)
    except yaml.YAMLError as error:
        raise ValueError(shorten(" ".join(str(error).split()), quoted=False)) from None
    if len(result) > 1:
        raise ValueError("several documents in one file")
    return result[0] if result else None


def read_word(annotation: Any, text: str) -> Any:
    """Read a word as its option's annotation asks: as a number, a boolean, None, a list, or text.

    Text that does not fit the annotation is returned unchanged, and the validation refuses it.
    """
    kinds = _kinds(annotation)
    lower = text.strip().lower()
    if type(None) in kinds and lower in _NONE:
        return None
    if any(kind in kinds for kind in (int, float, Any)) and (number := _number(text.strip())) is not None:
        return number
    if (bool in kinds or Any in kinds) and lower in (*_YES, *_NO):
        return lower in _YES
    if any(get_origin(kind) in COLLECTIONS or kind in COLLECTIONS for kind in kinds):
        return _collection(kinds, text)
    return str(text)


def read_value(annotation: Any, value: Any) -> Any:
    """Read every `Word` in a value as the annotation at its place asks."""
    if type(value) in PLAIN:
        return value
    kinds = _kinds(annotation)
    if isinstance(value, Inline) and str in kinds:
        return value.text
    if isinstance(value, Word):
        return read_word(annotation, value)
    if isinstance(value, Mapping):
        inner = next((get_args(k)[1] for k in kinds if get_origin(k) is dict), Any)
        return {str(key): read_value(inner, each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [read_value(_element(kinds), each) for each in value]
    return value


def exists(name: str) -> bool:
    """Whether a path exists; False also for names that are too long for a path."""
    try:
        return bool(name) and Path(name).exists()
    except (OSError, ValueError):
        return False


def shorten(value: Any, *, quoted: bool = True) -> str:
    """Format a value for a message; of long values only the beginning is shown."""
    text = repr(str(value) if isinstance(value, Word) else value) if quoted else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 30]}... ({len(text):,} characters)"


def _put(open_ones: list[Any], result: list[Any], value: Any) -> None:
    if not open_ones:
        result.append(value)
        return
    holder, is_mapping = open_ones[-1]
    if not is_mapping:
        holder.append(value)
    elif holder[1] is None:
        if not isinstance(value, str):
            raise ValueError("a key is not plain text")
        if value in holder[0]:
            raise ValueError(f"the key {shorten(value, quoted=False)} occurs twice")
        holder[1] = value
    else:
        holder[0][str(holder[1])] = value
        holder[1] = None


@cache
def _kinds(annotation: Any) -> tuple[Any, ...]:
    """List the types in a union, without the metadata of Annotated; for Literal, the types of its values."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(kind for member in get_args(annotation) for kind in _kinds(member))
    if get_origin(annotation) is Literal:
        return tuple({type(choice) for choice in get_args(annotation)})
    return (annotation,)


def _element(kinds: Sequence[Any]) -> Any:
    return next((get_args(k)[0] for k in kinds if get_origin(k) in (list, tuple, Sequence)), Any)


def _number(text: str) -> int | float | None:
    if _WHOLE.fullmatch(text) and len(text) <= 4300:
        return int(text)
    if _DECIMAL.fullmatch(text) and not _WHOLE.fullmatch(text):
        return float(text)
    return float(_NOT_FINITE[text.lower()]) if text.lower() in _NOT_FINITE else None


def _collection(kinds: Sequence[Any], text: str) -> Any:
    """Read a list in brackets or with commas, or a mapping in braces; a single value is not put in a list."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            found = parse(text)
        except ValueError:
            return str(text)
        return read_value(kinds[0] if len(kinds) == 1 else Union[kinds], found)  # noqa: UP007
    element = _element(kinds)
    if "," in text:
        return [read_word(element, part) for part in text.split(",")]
    return read_word(element, text)
