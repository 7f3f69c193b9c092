"""The tables and figures of the papers, one file each: their settings, and how finished runs are drawn.

Every file below ``amr/`` or ``manifold_mixup/`` with a ``TABLE`` is listed by `latentmix reproduce`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from functools import cache

from latentmix.tables.table import Table


@cache
def tables() -> dict[str, Table]:
    """Return all tables and figures by their names, sorted by name and number."""
    found: list[Table] = []
    for place in ("amr", "manifold_mixup", ""):
        package = importlib.import_module(f"{__name__}.{place}".rstrip("."))
        for info in pkgutil.iter_modules(package.__path__):
            if not info.ispkg and (place or info.name == "comparison"):
                table = getattr(importlib.import_module(f"{package.__name__}.{info.name}"), "TABLE", None)
                found += [table] if isinstance(table, Table) else []
    order = sorted(
        found, key=lambda table: [int(w) if w.isdigit() else w for w in re.split(r"(\d+)", table.name)]
    )
    return {table.name: table for table in order}


def table(name: str) -> Table:
    """Return the table or figure with this name.

    Raises:
        ValueError: There is none; the message suggests the nearest name.
    """
    known = tables()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(f"no table or figure is called {name!r}{hint}; `latentmix reproduce` lists them")
    return known[name]
