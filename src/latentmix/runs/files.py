"""The files of a run's folder: each is written with a checksum of its content and read by one reader.

A checksum is the first line of config.yaml and the first key of JSON files, so that a file that was cut short
still says that it has one. Files of earlier versions have none. They are read too, unless the checkpoint says
that its run was written with checksums (`sealed`): then a missing checksum is damage.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from latentmix.atomic import write_atomically
from latentmix.config import reading

MARK = "sha256"
LARGEST = 1 << 26  # bytes; larger files are no files of a run
_HEADER = re.compile(rb"# sha256 of the lines below: ([0-9a-f]{64})\r?\n")


class RunError(ValueError):
    """A folder is damaged, or not a run, or not the run that was asked for; the message says what to do."""


class Unsealed(RunError):
    """A file is not what was written into it: somebody edited it, or its bytes changed."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object whose first key is the SHA-256 of all others.

    Raises:
        OSError: There is no room, or the folder refuses.
    """
    write_atomically(path, json.dumps({MARK: seal(content), **content}, indent=2) + "\n")


def read_json(path: Path, *, sealed: bool, remedy: str) -> dict[str, Any]:
    """Read a JSON object; {} if the file does not exist.

    Arguments:
        sealed: Whether a missing checksum is damage.
        remedy: What to do about a damaged file, for the error's message.

    Raises:
        RunError: The file cannot be read, is not JSON or no object, or is not what was written into it.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    content = parse_json(read_bytes(path), path, remedy)
    mark = content.pop(MARK, None)
    if mark is None and not sealed:
        return content
    if mark != seal(content):
        raise Unsealed(f"{path} does not match its checksum: it was edited or damaged; {remedy}")
    return content


def parse_json(raw: bytes, path: Path, remedy: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        RunError: It is not UTF-8, not JSON, or no object.
    """
    try:
        content = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RunError(f"{path} is damaged ({why}); {remedy}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged (it is not an object with names and values); {remedy}")
    return content


def seal(content: Mapping[str, Any]) -> str:
    """SHA-256 of the values of a JSON object, in hexadecimal."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a YAML file whose first line is a comment with the SHA-256 of the lines below it.

    Raises:
        OSError: There is no room, or the folder refuses.
    """
    body = yaml.safe_dump(dict(content), sort_keys=False)
    write_atomically(
        path, f"# sha256 of the lines below: {hashlib.sha256(body.encode()).hexdigest()}\n{body}"
    )


def read_yaml(path: Path) -> tuple[dict[str, Any], bool | None]:
    """Read a YAML file, and whether it matches its checksum; None if it has none.

    Raises:
        RunError: The file cannot be read, or is not UTF-8, YAML or a mapping.
    """
    raw = read_bytes(path)
    header = _HEADER.match(raw)
    whole = hashlib.sha256(raw[header.end() :]).hexdigest().encode() == header[1] if header else None
    try:
        reading.parse(raw.decode())  # refuses what is nested too deeply, aliases, tags, and repeated keys
        content = yaml.safe_load(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path} is damaged: not readable as YAML ({_first_line(error)})") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RunError(f"{path} is damaged: it holds no settings")
    return content, whole


def read_bytes(path: Path) -> bytes:
    """Read a file of a run.

    Raises:
        RunError: It is no file, is far too large, or cannot be read.
    """
    try:
        if not path.is_file():
            raise RunError(f"{path} is no file")
        if (size := path.stat().st_size) > LARGEST:
            raise RunError(f"{path} is damaged: {size:,} bytes are too many for this file")
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error


def _first_line(error: Exception) -> str:
    return reading.shorten(" ".join(str(error).split()), quoted=False)
