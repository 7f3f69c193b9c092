"""The pages of the documentation as text: their commands, their code, and what they name in code spans."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What stands for something else in a command.
EXAMPLES = {"NAME": "amr-table1", "METRIC": "probe", "...": ""}


def name_of(page: Path) -> str:
    """Return the path of a page, as the names of tests have it."""
    return str(page.relative_to(ROOT))


def text(page: Path) -> str:
    """Return a page with lines that end in a backslash joined to the next."""
    return page.read_text(encoding="utf-8").replace("\\\n", " ")


def code(page: Path) -> list[str]:
    """List the blocks of Python."""
    return re.findall(r"```python\n(.*?)```", text(page), re.DOTALL)


def spans(page: Path) -> list[str]:
    """List the code spans, which may go over the end of a line, outside blocks of code."""
    prose = re.sub(r"^ {4}.*$", "", _unfenced(page), flags=re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def lines(page: Path) -> list[str]:
    """List the lines of the blocks that are indented, without the remarks that follow three spaces."""
    found = re.findall(r"^ {4}(?:\$ )?(\S.*)$", _unfenced(page), re.MULTILINE)
    return [re.split(r" {3,}", line)[0] for line in found]


def _unfenced(page: Path) -> str:
    return re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """List every command of latentmix on a page, as its words after `latentmix`."""
    found = []
    for line in (*spans(page), *lines(page)):
        match = re.fullmatch(r"(?:torchrun .*-m |python -m )?latentmix ([a-z].*)", line)
        if match is not None:
            words = (EXAMPLES.get(word, word) for word in shlex.split(match[1], comments=True))
            found.append([word for word in words if word])
    return found
