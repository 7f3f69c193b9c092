"""The log of a run, log.jsonl: one JSON object per line, each with a checksum of all lines so far."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from latentmix.runs import checkpoints
from latentmix.runs.files import RunError, parse_json, read_bytes

NAME = "log.jsonl"
CRC = "crc32"  # of the line without this entry, begun with that of the line before
KEYS: dict[str, Any] = {
    "kind": str,
    "epoch": int,
    "step": int,
    "images": int,
    "seconds": (int, float),
    "values": dict,
}
_END = f', "{CRC}": "'.encode()


class Log:
    """A log that is appended to; when a run continues, its log is cut back to the checkpoint.

    Arguments:
        position: Length in bytes to which the log is cut back, that of the checkpoint.

    Attributes:
        lost: Whether the log is shorter than `position`; its complete lines are kept.

    Raises:
        RunError: A line before `position` is damaged.
    """

    def __init__(self, folder: Path, position: int = 0) -> None:
        self.path = folder / NAME
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self.lost = self._file.seek(0, os.SEEK_END) < position
        self._file.seek(0)
        kept = self._file.read() if self.lost else self._file.read(position)
        if self.lost:
            kept = kept[: kept.rfind(b"\n") + 1]
        if kept and not kept.endswith(b"\n"):
            raise RunError(f"{self.path} is damaged: no line ends where the checkpoint's log ended; {REMEDY}")
        _, self._crc = _chain(kept.split(b"\n")[:-1], self.path)
        self._file.truncate(len(kept))
        self._file.seek(len(kept))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record."""
        text = json.dumps(record).encode()
        self._crc = zlib.crc32(text, self._crc)
        self._file.write(text[:-1] + _END + b'%08x"}\n' % self._crc)

    def position(self) -> int:
        """Write everything to the disk and return the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read all records of a run's log; an incomplete last line is left out.

    Raises:
        RunError: A line is damaged or missing.
    """
    path = folder / NAME
    least = _least(folder)  # read first: a log that is written grows
    if not path.exists() and not path.is_symlink():
        return []
    raw = read_bytes(path)
    complete = raw.rfind(b"\n") + 1
    if complete < least:
        raise RunError(
            f"{path} is damaged: {least - complete:,} bytes of the last checkpoint's log are missing; "
            f"{REMEDY}"
        )
    return _chain(raw.split(b"\n")[:-1], path)[0]


def _least(folder: Path) -> int:
    """Length in bytes that the log had when the last whole checkpoint was saved."""
    length = checkpoints.description(folder).get("log", 0)
    path = folder / NAME
    if path.is_file() and path.stat().st_size < length and not checkpoints.whole(folder, "last"):
        # A training that goes on from the checkpoint before has cut the log back.
        return checkpoints.description(folder, ("previous", "best")).get("log", 0)
    return length


REMEDY = "copy it again, or delete it: everything but learning curves and times works without it"


def _chain(lines: Iterable[bytes], path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read lines and compare each with its checksum; returns the records and the last checksum.

    Lines of earlier versions have no checksum; a run that this version continued begins with such lines.
    """
    records, crc, checked = [], 0, False
    for number, line in enumerate(lines, 1):
        record = parse_json(line, path, f"line {number}; {REMEDY}")
        found = record.pop(CRC, None)
        text = line if found is None else line[: line.rfind(_END)] + b"}"
        crc = zlib.crc32(text, crc)
        checked = checked or found is not None
        if (checked and found != f"{crc:08x}") or not _is_record(record, exactly=not checked):
            raise RunError(f"{path} is damaged: line {number} is not what was written; {REMEDY}")
        records.append(record)
    return records, crc


def _is_record(record: Mapping[str, Any], exactly: bool) -> bool:
    if not KEYS.keys() <= record.keys() or (exactly and len(record) > len(KEYS)):
        return False
    numbers = record["values"].values() if isinstance(record["values"], dict) else [None]
    return all(isinstance(record[key], kind) for key, kind in KEYS.items()) and all(
        isinstance(number, (int, float)) for number in numbers
    )
