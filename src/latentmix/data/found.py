"""The contents of a source, and what of it is not used: shown on the console and kept with a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN = 12  # classes, names of files and the like that a line lists


@dataclass(frozen=True)
class Found:
    """A summary of what was found in a source.

    Arguments:
        images: {split: {class: number of images}}; the class is "" for images without a label.
        formats: {format of the files, such as "JPEG": number of images}.
        sizes: Width and height of the image with the fewest and of the one with the most pixels.
        left_out: What is not used and why, one sentence each.
        notes: How the source was understood where it is ambiguous, one sentence each.
        warnings: Reasons to doubt scores, such as a class without test images, one sentence each.
    """

    images: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    formats: Mapping[str, int] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the summary as text, one fact per line."""
        lines = []
        for split, classes in self.images.items():
            named = {name: count for name, count in classes.items() if name}
            text = f"{split:5} {sum(classes.values()):,} images"
            if named:
                text += f" of {len(named)} classes: {listed(f'{n} ({c:,})' for n, c in named.items())}"
            if named and classes.get(""):
                text += f"; {classes['']:,} without a label"
            lines.append(text)
        if self.formats:
            parts = [f"{name} {count:,}" for name, count in sorted(self.formats.items())]
            lines.append(f"files {', '.join(parts)}{self._between()}")
        lines += [f"left out: {line}" for line in self.left_out]
        lines += [f"note: {line}" for line in self.notes]
        return lines + [f"warning: {line}" for line in self.warnings]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def as_dict(self) -> dict[str, Any]:
        """Return values that JSON can store; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Found:
        """Make a summary from the values that `as_dict` returned."""
        sizes = tuple((int(width), int(height)) for width, height in values["sizes"])
        texts = {name: tuple(values[name]) for name in ("left_out", "notes", "warnings")}
        return cls(values["images"], values["formats"], sizes, **texts)

    def _between(self) -> str:
        if not self.sizes:
            return ""
        few, many = (f"{width}x{height}" for width, height in (self.sizes[0], self.sizes[-1]))
        return f", {few} pixels" if few == many else f", {few} to {many} pixels"


def listed(things: Iterable[object], shown: int = SHOWN) -> str:
    """List things in one line, at most `shown` of them: "a, b, c and 4 more"."""
    names = [str(thing) for thing in things]
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
