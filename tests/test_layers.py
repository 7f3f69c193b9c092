"""Which module may import which: every module has a level and imports only from the levels below its own."""

from __future__ import annotations

import ast
import os
import re
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
cli.dispatch
cli.runs cli.people cli.tables
cli.app cli.streams cli.imports
latentmix
experiments.demo experiments.reproduce experiments.compare experiments.evidence experiments.states
experiments.__init__
experiments.amr.table2_cifar10 experiments.amr.reproduction_figure2 experiments.manifold_mixup.curves
experiments.amr.figure1
experiments.amr.figure6 experiments.manifold_mixup.table3 experiments.manifold_mixup.figure6
experiments
experiments.amr.walks experiments.manifold_mixup.figure1
experiments.amr.systems experiments.manifold_mixup.classifiers experiments.claims experiments.costs
experiments.amr.__init__ experiments.manifold_mixup.__init__
tables.output
tables.numbers tables.page tables.pareto
tables.rows
tables.workers
tables.ray_cluster tables.slurm
tables.execute
tables.together tables.records tables.pairs tables.verdict
tables.result
tables.plan
tables.lease tables.table
tables
apps.export apps.explore apps.import_model
apps.augment.augment
apps.augment.page
apps.augment.arms
apps.augment.pools apps.augment.outcome apps.augment.__init__
apps.study apps.score
apps.card apps.mix_images apps.trained
apps.refine
apps.page.page
apps.page.graph apps.page
apps.own_pictures apps.traced apps.pixels apps.paths
apps.neighbours apps.trained_reader
apps.readers
apps
reports.together
reports reports.exhibit
reports.systems
reports.page
reports.headline
reports.scores
reports.facts reports.texts reports.numbers reports.latex
scoring
pictures.figures
pictures.tiles pictures
training
training.fleet
training.loop
training.captured training.record training.batches
training.resume training.board
training.step training.progress training.device training.ranks training.streams training.samples
training.compiled training.precision training.schedule training.eager training.signals
training.doubts training.room
runs
runs.opened
runs.folder
runs.log runs.scores
runs.checkpoints
runs.description runs.files
runs.at_hand
imported
imported.ranged imported.found
config
config.stored
config.settings
config.catalogue config.reading config.protocol config.run
config.bounds
metrics.composition
metrics.path
metrics.attribute_mixes metrics.blend metrics.posterior
metrics.on_spiral metrics.spread
metrics.honesty
metrics.samples
metrics.features.statistics
metrics.frechet metrics.few_labels metrics.knn metrics.clusters metrics.deep_probe metrics.rank
metrics.disentanglement metrics.lines metrics.probe metrics.reconstruction
metrics.interpolation metrics.robustness
metrics.classification
metrics.features.given
metrics.walks.mixes metrics.features.inception
metrics.features
metrics.walks metrics.factors metrics.fit metrics.features.kept
metrics
methods
methods.classifier methods.learned_mixing methods.adversarial methods.autoencoding
methods.classifying methods.gan_losses
methods.__init__ methods.roles methods.portions
manifold
manifold.huggingface manifold.lightning manifold.timm manifold.keras manifold.rows
manifold.manifold_mixup
manifold.passes
manifold.masks manifold.labels manifold.layers manifold.first_pass manifold.drawing
manifold.inspection manifold.training_mode
manifold.trial_run
manifold.hooks manifold.recompute
networks
networks.folded_stem networks.folded_upsample
networks.instance_norm networks.upsample
networks.norm_kernel networks.narrow_conv networks.spectral_norm
networks.forms networks.phases
networks.__init__
data
data.summary data.given
data.load
data.subset
data.zca data.sources.dsprites data.sources.one_parameter
data.sources
data.cache
data.decoding.tables data.decoding.files data.decoding.arrays
data.decoding.lists data.decoding.damage
data.decoding
data.decoding.images data.decoding.text_lists data.decoding.image_index
data.decoding.layout data.decoding.labels data.decoding.grey
data.decoding.walk
data.decoding.foreign data.decoding.metadata data.decoding.progress
data.cuts
data.split
data.store data.identity
data.names
data.found
mixing
mixing.mixers mixing.other_libraries mixing.paths
mixing.draws
outside memory atomic
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


def summary(name: str) -> str:
    """First sentence of a module's docstring."""
    path = ROOT.joinpath(*name.removesuffix(".__init__").split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return re.split(r"(?<=[a-z0-9)])\.(?:\s|$)", " ".join(text.split("\n\n")[0].split()))[0].rstrip(".")


def table() -> str:
    """The levels as a Markdown table, from the top."""
    rows = ["| modules, from the top | what they are |", "|---|---|"]
    for line in filter(None, LEVELS.split("\n")):
        names = [name for name in line.split() if name not in ("__main__", "latentmix")]
        shown = ", ".join(f"`{name.removesuffix('.__init__')}`" for name in names)
        rows += [f"| {shown} | {'; '.join(summary(name) for name in names[:3])} |"] if names else []
    return "\n".join(rows)


def test_the_page_shows_these_levels() -> None:
    """Set LATENTMIX_WRITE=1 to write the table into the page."""
    page = PAGE.read_text()
    before, _, rest = page.partition("<!-- levels -->\n")
    _, _, after = rest.partition("<!-- /levels -->")
    expected = f"{before}<!-- levels -->\n{table()}\n<!-- /levels -->{after}"
    if os.environ.get("LATENTMIX_WRITE"):
        PAGE.write_text(expected)
    assert page == expected or os.environ.get("LATENTMIX_WRITE"), "docs/architecture.md is out of date"


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
    source += "    import_module('latentmix.reports.page')\n    from latentmix.methods import Method\n"
    seen = {"runs", "cli", "training.loop", "methods.amr", "reports.page", "methods.__init__"}
    assert set(imported(ast.parse(source))) == seen
