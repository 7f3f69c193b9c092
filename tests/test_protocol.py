"""What protocol=paper sets is spelt by `latentmix parts` and on the page of every method that it concerns."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import terminal
from latentmix import config
from latentmix.config import catalogue, protocol

PAGES = Path(__file__).parents[1] / "docs" / "methods"
METHODS = {
    "acai": ("acai_of_amr",),
    "amr": ("ae_gan", "amr"),
    "amr_classes": ("amr_classes",),
    "amr_labels": ("amr_labels",),
    "amr_learned": ("amr_learned",),
    "classifier": ("classifier", "hidden_decoder", "factor_mixing"),
    "gan": ("gan",),
    "semi_supervised": ("semi_supervised",),
    "vae": ("vae",),
    "vq_vae": ("vq_vae",),
}


def block(methods: tuple[str, ...]) -> str:
    lines = []
    for method in methods:
        first, *others = protocol.listed(method)
        lines.append(f"- `method={method}`: `{first}`")
        for other in others:
            case, _, words = other.partition(": ")
            lines.append(f"  - with `{case}` also `{words}`")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", METHODS)
def test_pages_have_the_settings(page: str) -> None:
    """Set LATENTMIX_WRITE=1 to write them into the pages."""
    path = PAGES / f"{page}.md"
    before, _, rest = path.read_text().partition("<!-- protocol -->\n")
    _, _, after = rest.partition("<!-- /protocol -->")
    expected = f"{before}<!-- protocol -->\n{block(METHODS[page])}<!-- /protocol -->{after}"
    if os.environ.get("LATENTMIX_WRITE"):
        path.write_text(expected)
    assert path.read_text() == expected


def test_every_method_that_it_concerns_has_a_page() -> None:
    concerned = {name for name in catalogue.find("method") if protocol.listed(name)}
    assert concerned == {name for methods in METHODS.values() for name in methods}


def test_parts_lists_them(tmp_path: Path) -> None:
    shown = terminal.typed("parts", "method", cwd=tmp_path).out
    for line in protocol.listed("amr"):
        assert line in shown


def test_what_is_listed_is_what_a_run_has() -> None:
    """Typed as they are listed, the settings of protocol=paper are those that it fills in."""
    for name in ("amr", "vae", "vq_vae", "semi_supervised"):
        plain = config.load([f"method={name}", "protocol=paper"])
        words = re.split(r", (?=[a-z_.]+=)", protocol.listed(name)[0])
        assert config.load([f"method={name}", "protocol=paper", *words]) == plain
        typed = config.load([f"method={name}", *words])
        assert config.difference(typed.as_dict(), plain.as_dict()) == ["protocol: clean -> paper"]


def test_a_deviation_is_printed_with_the_scores(tmp_path: Path) -> None:
    tiny = ("image_size=16", "steps=1", "train_size=20", "batch_size=4", "method.network.width=2")
    words = ("method=ae_gan", "data=digits", "device=cpu", "out=run", *tiny)
    done = terminal.typed("train", "protocol=paper", *words, cwd=tmp_path)
    assert done.code == 0, done
    assert "unlike protocol=paper: batch_size: 4 (paper: 64)" in done.out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Not as protocol=paper has it: batch_size: 4 (paper: 64)." in page
    done = terminal.typed("evaluate", "run", "reconstruction", "--device", "cpu", cwd=tmp_path)
    assert "unlike protocol=paper: batch_size: 4 (paper: 64)" in done.out
