"""What the documentation names exists: links, headings, files, settings, options, defaults, functions."""

from __future__ import annotations

import importlib
import inspect
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, ROOT, lines, name_of, spans, text

import latentmix as lm
from latentmix import config
from latentmix.config import catalogue
from latentmix.data.names import name_of as name_of_part
from latentmix.manifold import ManifoldMixup

SETTING = re.compile(r"(?<![\w.])([a-z_]+(?:\.[a-z_]+)*)=(?=[\w./\[-])")
FILES = {"latentmix.json", catalogue.GROUP}  # not modules
PAGES_OF_METHODS = sorted((ROOT / "docs/methods").glob("*.md"))


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        file, _, heading = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert heading in {anchor(each) for each in headings}, target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_exist(page: Path) -> None:
    ours = re.compile(
        r"(?:src|tests|docs|benchmarks|examples|apps|[a-z]+)/[\w/]+\.(?:py|js|css|cpp|json|yaml|md|ipynb)"
    )
    for span in spans(page):
        if ours.fullmatch(span) and not span.startswith(("runs/", "figures/", "pets/")):
            assert (ROOT / span).exists() or (ROOT / "src/latentmix" / span).exists(), span


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_in_python_exist(page: Path) -> None:
    for span in spans(page):
        if not re.fullmatch(r"(?:with )?(?:latentmix|lm)\.[\w.]+(?:\(.*\))?:?", span) or span in FILES:
            continue
        path, _, arguments = span.removeprefix("with ").rstrip(":").partition("(")
        found = named(re.sub(r"^lm\.", "latentmix.", path))
        for keyword in re.findall(r"(\w+)=", re.sub(r'".*?"', "", arguments)):
            assert keyword in inspect.signature(found).parameters, span


def named(path: str) -> Any:
    """Return the module, class or function of a dotted path."""
    found: Any = lm
    for name in path.split(".")[1:]:
        found = getattr(found, name, None) or importlib.import_module(f"{found.__name__}.{name}")
    return found


def known() -> set[str]:
    """List the names of all settings of runs, and of options of parts and of `ManifoldMixup`."""
    options = (part.options for kind in catalogue.FOLDERS for part in catalogue.find(kind).values())
    return {
        *config.Run.__dataclass_fields__,
        *chain.from_iterable(options),
        *inspect.signature(ManifoldMixup).parameters,
        *chain.from_iterable(
            inspect.signature(getattr(lm, name)).parameters for name in ("train", "evaluate")
        ),
        "name",
    }


FOREIGN = {"weights_only", "drop_last", "ignore_index"}  # of torch


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_exist(page: Path) -> None:
    for span in (*spans(page), *lines(page)):
        if "(" in span or span == "key=value":
            continue  # a call
        for path in SETTING.findall(span):
            first, *rest = path.split(".")
            if first in ("every", "hold_out"):
                continue  # players and columns, which differ from run to run
            words = rest if first in catalogue.find("metric") else [first, *rest]
            assert set(words) <= known() | FOREIGN, span


@pytest.mark.parametrize("page", PAGES_OF_METHODS, ids=lambda page: page.stem)
def test_tables_of_options_have_their_names_and_defaults(page: Path) -> None:
    """A page that has several methods has the default of each after a slash, or options that only one has."""
    spoken = {
        method for method in catalogue.find("method") if re.search(rf"method={method}\b", page.read_text())
    }
    for name, default in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table(page), re.MULTILINE):
        values = {re.sub(r" \(.*\)|[`,]", "", word).strip() for word in default.split(" / ")}
        had = {
            spelt(part.options[name][1])
            for method in spoken | {page.stem} & set(catalogue.find("method"))
            if name in (part := catalogue.find("method")[method]).options
        }
        assert had, f"no method of this page has an option {name}"
        assert values <= had, f"{name}: {values} are documented, {had} are true"


def table(page: Path) -> str:
    """Return the table of options of a page."""
    found = re.search(r"^\| option \| default \|.*\n\|[-|]+\n((?:\|.*\n)+)", text(page), re.MULTILINE)
    return found[1] if found else ""


def spelt(default: Any) -> str:
    """Return a default as pages have it."""
    if default is None:
        return "none"
    if isinstance(default, float):
        return re.sub("e-0", "e-", f"{default:g}")
    if isinstance(default, tuple):
        return ",".join(default)
    return name_of_part(type(default)) if hasattr(default, "__dataclass_fields__") else str(default).lower()


def test_the_mentions_are_found() -> None:
    """The tests above have something to look at: each kind of mention is found where it is known to stand."""
    every = [span for page in PAGES for span in (*spans(page), *lines(page))]
    settings = {path for span in every for path in SETTING.findall(span)}
    assert settings >= {"method.mixer.k", "labelled", "knn.k", "validate_every"}
    assert {"latentmix.methods.roles", "latentmix.mixing.pair(partners, lam)"} <= set(every)
    assert "| `mixer` | `mixup` |" in table(ROOT / "docs/methods/amr.md")
    assert "docs/claims.md" in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / "README.md").read_text())
