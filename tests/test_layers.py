"""Who may import whom: every module has a level, and imports only from below its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import latentmix

ROOT = Path(latentmix.__file__).parent
LEVELS = """
__init__ __main__
cli
experiments
gallery
report resynthesis tables augment explore export
figures
evaluate
train supervised
players
attributes
metrics
methods
networks mixers conventions manifold_adapters manifold_lightning
manifold
manifold_layers
manifold_hooks
sheets
runs
checkpoints config
data
mixing parts runtime progress
"""  # from the top; one line a level
LEVEL = {name: -row for row, line in enumerate(LEVELS.split("\n")) for name in line.split()}
FILES = sorted(ROOT.rglob("*.py"))
FORBIDDEN = {"utils", "util", "common", "base", "core", "helpers", "manager"}


def module(file: Path) -> str:
    """The part of the house that a file belongs to: a module, or a whole package."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Parts of the house that a file imports, those for type checkers only left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            yield from imported(node)
            continue
        for package, _, rest in (name.partition(".") for name in names):
            if package == "latentmix" and rest.partition(".")[0] in LEVEL:
                yield rest.partition(".")[0]


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(ROOT)) for f in FILES])
def test_a_module_imports_only_from_below_its_level(file: Path) -> None:
    own = module(file)
    assert own in LEVEL, f"{own} has no level yet: put it into LEVELS, and into docs/architecture.md"
    above = {
        name for name in imported(ast.parse(file.read_text())) if name != own and LEVEL[name] >= LEVEL[own]
    }
    assert not above, f"{own} imports {', '.join(sorted(above))} from its own level or above"


def test_modules_are_named_after_what_they_do() -> None:
    assert not {file.stem for file in FILES} & FORBIDDEN


def test_files_are_one_idea_each() -> None:
    long = {str(f.relative_to(ROOT)): n for f in FILES if (n := len(f.read_text().splitlines())) > 400}
    assert not long


def test_the_check_sees_what_it_forbids() -> None:
    source = "from latentmix import runs\nimport torch\nif TYPE_CHECKING:\n    from latentmix import cli\n"
    source += "def f():\n    import latentmix.train.x\n    from latentmix.methods.amr import AMR\n"
    assert list(imported(ast.parse(source))) == ["runs", "train", "methods"]
