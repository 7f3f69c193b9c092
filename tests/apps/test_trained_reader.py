"""Classes of mixes by a small classifier in the run's folder: trained, kept, and read by the page too."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import nn

import latentmix
from latentmix.apps import trained_reader
from latentmix.apps.page.graph import trace
from latentmix.apps.readers import either
from latentmix.apps.trained_reader import FILE, TrainedReader, classifier_of, untrained
from latentmix.data import Split
from latentmix.metrics.features import kept


class Fixed(nn.Module):
    """Logits for pictures of one grey: log-odds of class a, of b and of c."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dark = x.flatten(1).mean(1, keepdim=True)
        return torch.cat([-4 * dark, 1 - 4 * dark.abs(), 4 * dark], 1)


@pytest.fixture
def reader() -> TrainedReader:
    return TrainedReader(("a", "b", "c"), 80.0, 1.0, Fixed())


def test_votes_are_probabilities_in_percent_of_clipped_pictures(reader) -> None:
    x = torch.tensor([-1.0, 0.0, 1.0, 7.0])[:, None, None, None].expand(-1, 1, 2, 2)
    total = math.exp(4) + math.exp(-3) + math.exp(-4)
    dark = [100 * math.exp(v) / total for v in (4, -3, -4)]
    middle = [100 / (2 + math.e), 100 * math.e / (2 + math.e), 100 / (2 + math.e)]
    expected = torch.tensor([dark, middle, dark[::-1], dark[::-1]])
    torch.testing.assert_close(reader.votes(x), expected)


def test_doubts_are_told_in_percent(reader) -> None:
    a, c = torch.tensor([90.0, 8.0, 2.0]), torch.tensor([0.0, 10.0, 90.0])
    assert reader.doubt(torch.tensor([30.0, 10.0, 60.0]), [a, c]) == ""
    assert reader.doubt(torch.tensor([2.0, 93.0, 5.0]), [a, c]) == (
        "reads as b, not as a or c: the classifiers give 93 % to b, and 7 % to a or c"
    )
    assert reader.doubt(torch.tensor([79.99, 20.01, 0.0]), [a]) == (
        "hard to read: the classifiers give 79 % to a; 80.0 % or more would be clear"
    )


def test_classes_are_listed_as_people_do() -> None:
    assert [either(names) for names in ("a", "ab", "abc")] == ["a", "a or b", "a, b or c"]


@pytest.fixture(scope="module")
def run(digits_run, tmp_path_factory: pytest.TempPathFactory):
    """A copy of the digits' run with a reader that was trained for a moment."""
    folder = tmp_path_factory.mktemp("read") / "run"
    shutil.copytree(digits_run.folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained_reader, "STEPS", 120)
        assert trained_reader.main([str(folder)]) == 0
    return latentmix.open_run(folder)


def test_it_is_kept_in_the_folder_and_knows_the_classes(run, digits_run, digits) -> None:
    net, names = classifier_of(run), tuple(digits.class_names)
    copies, truth = digits.test.pixels(slice(None)), digits.test.labels  # a perfect autoencoder
    reader = trained_reader.trained_reader(net, names, copies, truth)
    assert reader.right > 0.8
    assert reader.clear == net.clear.item()
    noise = torch.rand(len(copies), *digits.shape) * 2 - 1
    assert trained_reader.trained_reader(net, names, noise, truth) is None
    assert classifier_of(digits_run) is None


class Grey(nn.Module):
    """Encodes, decodes and reads pictures of one grey."""

    code_shape = (1, 8, 8)

    def __init__(self, given: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.given = given  # share of class 0 for a grey; the rest is that of class 2

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x

    decode = encode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = self.given(x.flatten(1).mean(1)).double()
        return torch.stack([share, torch.zeros_like(share), 1 - share], 1).clamp_min(1e-12).log()


def test_of_the_mixes_without_doubt_few_are_read_as_a_third_class() -> None:
    greys = torch.arange(0, 256, 5, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    split = Split(greys, torch.arange(len(greys)) % 2)
    reads, other = Grey(lambda m: (1 + m) / 2), Grey(lambda m: (m > 0.1).double())
    clear = trained_reader.bound(reads, other, reads, split)
    x = split.pixels(slice(None))
    pairs = torch.randint(len(split), (trained_reader.MIXES, 2), generator=torch.Generator().manual_seed(0))
    m = x[:, 0, 0, 0][pairs[split.labels[pairs[:, 0]] != split.labels[pairs[:, 1]]]].mean(1)
    third, given = m <= 0.1, 100 * (1 + m) / 2
    assert (third & (given >= clear - 1e-3)).sum() <= trained_reader.MISSED * (given >= clear - 1e-3).sum()
    below = given[given < clear - 1e-3].max()  # the next bound would let too many through
    assert (third & (given >= below - 1e-3)).sum() > trained_reader.MISSED * (given >= below - 1e-3).sum()
    assert trained_reader.bound(reads, Grey(lambda m: 0 * m), reads, split) > 100  # every mix is in doubt
    least = trained_reader.bound(reads, Grey(lambda m: 0 * m + 1), reads, split)
    assert least == pytest.approx(given.min().item(), abs=1e-3)
    alike = Split(greys, torch.zeros(len(greys), dtype=torch.long))
    with pytest.raises(ValueError, match="needs validation images of two classes"):
        trained_reader.bound(reads, other, reads, alike)


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "usage: "), (["a", "b"], "usage: "), (["nowhere"], "latentmix: nowhere does not")],
)
def test_a_mistake_is_told_in_one_line(words, said, capsys) -> None:
    assert trained_reader.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_a_reader_that_doubts_every_mix_is_not_kept(digits_run, tmp_path: Path, monkeypatch, capsys) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits_run.folder, folder)
    monkeypatch.setattr(trained_reader, "STEPS", 1)
    monkeypatch.setattr(trained_reader, "bound", lambda *_: 200.0)
    assert trained_reader.main([str(folder)]) == 2
    said = "latentmix: every mix of this run would be in doubt, so no classifiers are kept\n"
    assert capsys.readouterr().err == said
    assert not (folder / FILE).exists()


def test_the_model_at_hand_has_one() -> None:
    run = latentmix.open_run("digits")
    net = classifier_of(run)
    assert net is not None
    assert (run.folder / FILE).stat().st_size < 600_000


def test_a_damaged_or_foreign_file_is_named_and_neighbours_vote(run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    copy = dataclasses.replace(run, folder=folder)
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-5])
    with pytest.warns(UserWarning, match="reader.safetensors is damaged, classes are read by the nearest"):
        assert classifier_of(copy) is None
    kept.write(folder / FILE, untrained(3, 16, 4).state_dict(), "a reader")
    with pytest.warns(UserWarning, match="is of another network, classes are read by the nearest"):
        assert classifier_of(copy) is None


def test_without_labels_no_reader_is_trained(digits) -> None:
    bare = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=None))
    with pytest.raises(ValueError, match="fewer than two classes"):
        trained_reader.train(bare)


def test_the_page_reads_as_python_does(run, digits) -> None:
    racer = pytest.importorskip("py_mini_racer")
    v8 = racer.MiniRacer()
    for name in ("engine.js", "mixing.js"):
        v8.eval((resources.files("latentmix.apps.page") / name).read_text())
    net = classifier_of(run)
    x = digits.test.pixels(slice(8))
    reader = TrainedReader(tuple(digits.class_names), 95.0, 1.0, net)
    graph = trace(net, x[:1], "r")
    constants = {
        name: {"shape": list(value.shape), "data": value.flatten().tolist()}
        for name, value in graph.constants.items()
    }
    v8.eval(f"var ops = {json.dumps(graph.ops)}, constants = {json.dumps(constants)}")
    v8.eval("for (const c of Object.values(constants)) c.data = Float32Array.from(c.data)")
    v8.eval(f"var reader = {{ ops, names: {json.dumps(list(reader.names))}, clear: 95 }}")
    votes = reader.votes(x)
    for pixels, expected in zip(x, votes):
        given = f"Float32Array.from({pixels.flatten().tolist()}), {json.dumps([1, *pixels.shape])}"
        found = json.loads(v8.eval(f"JSON.stringify(Mixing.percents(Engine.run(ops, constants, {given})))"))
        assert found == pytest.approx(expected.tolist(), abs=1e-3)
    for theirs in (votes[1], votes[0]):
        said = v8.eval(f"Mixing.doubt({votes[0].tolist()}, [{theirs.tolist()}], reader)")
        assert said == reader.doubt(votes[0], [theirs])
