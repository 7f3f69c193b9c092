"""A summary of the data at a path, without training."""

from __future__ import annotations

from dataclasses import dataclass

from latentmix.data.found import Found
from latentmix.data.load import load
from latentmix.data.names import name_of
from latentmix.data.split import Source


@dataclass(frozen=True)
class Summary:
    """A data set in a few lines.

    Arguments:
        name: What figures and tables call it.
        source: The kind of source that reads it.
        shape: Shape of its decoded images, (C, H, W).
        attributes, factors: Names of its columns beside the label.
        found: Numbers of images, and what was left out.
        fingerprint: SHA-256 of everything decoded at this size, in hexadecimal.
    """

    name: str
    source: str
    shape: tuple[int, int, int]
    attributes: tuple[str, ...]
    factors: tuple[str, ...]
    found: Found
    fingerprint: str

    def __str__(self) -> str:
        channels, height, width = self.shape
        colour = "grey" if channels == 1 else "colour"
        lines = [f"{self.name}, read as {self.source}: {colour}, decoded to {width}x{height} pixels"]
        lines += [f"  {line}" for line in self.found.lines()]
        for what, names in (("attributes", self.attributes), ("factors", self.factors)):
            if names:
                lines.append(f"  {len(names)} {what}: {', '.join(names)}")
        return "\n".join([*lines, f"  fingerprint {self.fingerprint}"])


def inspect(source: Source, *, image_size: int = 32) -> Summary:
    """Read a source as a training would, and say what was found.

    Raises:
        ValueError: Bad images or columns, or too few images to split.
        FileNotFoundError: The source is not there.
    """
    data = load(source, image_size=image_size)
    return Summary(
        data.name,
        name_of(type(source)),
        data.shape,
        data.attribute_names,
        data.factor_names,
        data.found,
        data.fingerprint,
    )
