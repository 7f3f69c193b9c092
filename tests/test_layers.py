"""Which module may import which: every module has a level and imports only from the levels below its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import latentmix

ROOT = Path(latentmix.__file__).parent
PAGE = ROOT.parents[1] / "docs" / "architecture.md"
# From the top; a name stands for a module and for everything below it, unless a longer name is listed too.
LEVELS = """
__main__
cli
latentmix
experiments.demo experiments.comparison
experiments
experiments.manifold_mixup.consistency
apps
report report.exhibit
report.page
report.captions
evaluate
pictures.figures
pictures.tiles pictures
training
training.loop
training.step
training.progress training.device training.samples
supervised
runs
runs.folder
runs.checkpoints
config
config.run
config.catalogue
metrics.composition
metrics.path
metrics.honesty
metrics.samples
metrics.frechet metrics.few_labels metrics.knn metrics.clusters metrics.deep_probe
metrics.disentanglement metrics.lines metrics.probe metrics.interpolation metrics.robustness
metrics.mixes metrics.features.inception
metrics.factors metrics.features
metrics
methods
methods.adversarial methods.gan_losses
methods.__init__
manifold
manifold.huggingface manifold.lightning
manifold.manifold_mixup
manifold.layers
manifold.hooks
networks
networks.instance_norm
networks.__init__
data
data.load
data.subset
data.zca data.sources.dsprites data.sources.one_parameter
data.sources
data.cache
data.decoding.tables
data.decoding
data.names
data.split
mixing
mixing.mixers mixing.other_libraries mixing.paths
mixing.draws
"""
LEVEL = {name: -row for row, line in enumerate(LEVELS.split("\n")) for name in line.split()}
FILES = sorted(ROOT.rglob("*.py"))
FORBIDDEN = {"utils", "util", "common", "base", "core", "helpers", "manager", "misc"}


def module(file: Path) -> str:
    """Dotted name of a file below the package, PACKAGE.__init__ where LEVELS lists that."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts == ("__init__",):
        return "latentmix"
    name = ".".join(parts)
    return name if parts[-1] != "__init__" or name in LEVEL else ".".join(parts[:-1])


def level(name: str) -> int | None:
    """Level of the longest listed name that `name` begins with."""
    parts = name.split(".")
    return next((LEVEL[n] for i in range(len(parts), 0, -1) if (n := ".".join(parts[:i])) in LEVEL), None)


def exists(name: str) -> str | None:
    """The module that a dotted name below the package leads to: itself, or the one that defines it."""
    for candidate in (name, name.rpartition(".")[0]):
        path = ROOT.joinpath(*candidate.split("."))
        if candidate and path.with_suffix(".py").is_file():
            return candidate
        if candidate and (path / "__init__.py").is_file():
            own = f"{candidate}.__init__"
            return own if own in LEVEL else candidate
    return None


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules below the package that a file imports, for type checkers and by name included."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = node.args[0]
            names = [argument.value] if isinstance(argument, ast.Constant) else []
        for name in names:
            package, _, rest = name.partition(".")
            if package == "latentmix" and (found := exists(rest)):
                yield found


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(ROOT)) for f in FILES])
def test_a_module_imports_only_from_below_its_level(file: Path) -> None:
    own = module(file)
    here = level(own)
    assert here is not None, f"{own} has no level yet: put it into LEVELS"
    names = set(imported(ast.parse(file.read_text()))) - {own}
    above = {name for name in names if (there := level(name)) is None or there >= here}
    assert own == "latentmix" or not above, (
        f"{own} imports {', '.join(sorted(above))} from its level or above"
    )


def test_every_listed_module_exists() -> None:
    for name in set(LEVEL) - {"latentmix", "__main__"}:
        assert exists(name.removesuffix(".__init__")), name


def test_few_modules_lie_at_the_top() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 10


def test_modules_are_named_after_what_they_do() -> None:
    assert not {file.stem for file in FILES} & FORBIDDEN


def test_files_are_one_idea_each() -> None:
    long = {str(f.relative_to(ROOT)): n for f in FILES if (n := len(f.read_text().splitlines())) > 400}
    assert not long


def test_the_check_sees_what_it_forbids() -> None:
    source = "from latentmix import runs\nimport torch\nif TYPE_CHECKING:\n    from latentmix import cli\n"
    source += "def f():\n    import latentmix.training.loop\n    from latentmix.methods.amr import AMR\n"
    source += "    import_module('latentmix.report.page')\n    from latentmix.methods import Method\n"
    seen = {"runs", "cli", "training.loop", "methods.amr", "report.page", "methods.__init__"}
    assert set(imported(ast.parse(source))) == seen
