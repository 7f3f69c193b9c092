"""Several runs on one page: systems, marks of unlike protocols, pictures of the same pairs."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

import terminal
from latentmix import config, runs
from latentmix.reports import together
from latentmix.reports.systems import differences, lines, systems
from latentmix.training import train

TINY = {"image_size": 16, "train_size": 64, "batch_size": 16, "steps": 2, "data": "digits", "device": "cpu"}


def trained(out: Path, method: dict[str, Any], **settings: Any) -> Path:
    small = {"network": {"name": "conv", "width": 2}, **method}
    return train(config.resolve({**TINY, "method": small, **settings, "out": str(out)}))


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """AE+GAN with two seeds, AMR by mixup and by masks."""
    root = tmp_path_factory.mktemp("together")
    amr = {name: {"name": "amr", "mixer": name} for name in ("mixup", "bernoulli")}
    made = {f"gan{seed}": trained(root / f"gan{seed}", {"name": "ae_gan"}, seed=seed) for seed in (0, 1)}
    made |= {name: trained(root / name, method) for name, method in amr.items()}
    for n, folder in enumerate(made.values()):
        score = {"values": {"knn_accuracy": 0.5 + n / 10}, "protocol": {"n_test": 100}, "options": {"k": 5}}
        runs.add_score(folder, "knn.k=5", score)
    return made


def test_runs_that_differ_by_the_seed_are_one_system(trainings: dict[str, Path]) -> None:
    several = systems([trainings[name] for name in ("gan1", "mixup", "gan0", "bernoulli")])
    assert [system.label for system in several] == ["AE+GAN", "AMR (mixup of 2)", "AMR (bernoulli of 2)"]
    assert several[0].seeds == [0, 1]
    (line,) = [line for line in lines(several) if line.metric == "knn.k=5"]
    mean = line.means["AE+GAN"]
    assert (mean.mean, mean.deviation, mean.n) == pytest.approx((0.55, 0.5**0.5 / 10, 2))
    assert line.means["AMR (mixup of 2)"].deviation is None
    assert (line.protocols, mean.mark) == ({}, "")
    differ = differences(several)
    assert differ["method.name"] == ["ae_gan", "amr", "amr"]
    assert differ["method.mixer.p"] == [None, None, "sample"]
    assert "seed" not in differ


def test_numbers_of_unlike_protocols_carry_letters(trainings: dict[str, Path], tmp_path: Path) -> None:
    unlike = trained(tmp_path / "unlike", {"name": "amr", "lamb": 2.0})
    score = {"values": {"knn_accuracy": 0.9}, "protocol": {"n_test": 30}, "options": {"k": 5}}
    runs.add_score(unlike, "knn.k=5", score)
    page = together.exhibit([trainings["gan0"], unlike], tmp_path / "page").read_text()
    assert "50.0 %<sup>a</sup>" in page
    assert "90.0 %<sup>b</sup>" in page
    assert "<li><sup>a</sup> knn.k=5: n_test=100</li><li><sup>b</sup> knn.k=5: n_test=30</li>" in page
    table = (tmp_path / "page" / "scores.tex").read_text()
    assert r"90.0 \% [b]" in table
    assert "% b: knn.k=5: n_test=30" in table


def test_a_collapsed_model_has_no_mean(trainings: dict[str, Path], tmp_path: Path) -> None:
    collapsed = trained(tmp_path / "collapsed", {"name": "amr", "lamb": 3.0})
    score = {"values": {"knn_accuracy": 0.9}, "protocol": {"collapsed_because": "one image"}, "options": {}}
    runs.add_score(collapsed, "knn", score)
    (line,) = [line for line in lines(systems([collapsed])) if line.metric == "knn"]
    (mean,) = line.means.values()
    assert (mean.mean, mean.collapsed) == (None, "one image")


def test_the_command_writes_page_tables_and_pictures(trainings: dict[str, Path], tmp_path: Path) -> None:
    done = terminal.typed("report", *trainings.values(), "--out", "page", "--device", "cpu", cwd=tmp_path)
    assert done.code == 0, done
    folder = tmp_path / "page"
    text = (folder / "report.html").read_text()
    assert "4 runs of 3 systems on digits" in text
    assert text.count("data:image/png;base64,") == 4
    assert not re.search(r"https?://", text)
    names = ["bernoulli", "interpolations", "learning_curves", "reconstructions"]
    assert sorted(path.stem for path in (folder / "figures").glob("*.png")) == names
    rows = list(csv.DictReader((folder / "scores.csv").open()))
    knn = {row["system"]: (float(row["mean"]), row["n"]) for row in rows if row["metric"] == "knn.k=5"}
    assert knn["AE+GAN"] == (pytest.approx(0.55), "2")
    assert all((folder / link).resolve().parent.is_dir() for link in re.findall(r"href='([^']+)'", text))
    latex = (folder / "scores.tex").read_text()
    assert latex.startswith(r"\begin{tabular}{lrrr}")
    assert r"55.0 $\pm$ 7.1 \% (n = 2)" in latex


def test_one_run_has_the_report_of_a_run(trainings: dict[str, Path], tmp_path: Path) -> None:
    done = terminal.typed("report", trainings["mixup"], "--device", "cpu", cwd=tmp_path)
    assert done.code == 0, done
    assert Path(done.out.strip()) == trainings["mixup"] / "report.html"
    assert not (tmp_path / "report").exists()


def test_mistakes_are_one_line_each(trainings: dict[str, Path], tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        return terminal.refusal(terminal.typed("report", *words, "--device", "cpu", cwd=tmp_path))

    one = trainings["mixup"]
    assert "latentmix report RUN RUN" in refused()
    assert "nothing does not exist; a run is a folder that" in refused(one, "nothing")
    assert "is the folder of a run; choose another --out" in refused(one, trainings["gan0"], "--out", one)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "scores.csv").write_text("mine")
    assert "letters holds files that are no report of runs" in refused(
        one, trainings["gan0"], "--out", "letters"
    )
    (tmp_path / "copy").mkdir()
    for file in ("config.yaml", "log.jsonl"):
        (tmp_path / "copy" / file).write_bytes((one / file).read_bytes())
    assert "are the same training, seed 0; name only one" in refused(one, tmp_path / "copy")
    larger = trained(tmp_path / "larger", {"name": "ae_gan"}, image_size=32)
    assert "runs of unlike images cannot stand side by side" in refused(one, larger)
    other = trained(tmp_path / "other", {"name": "ae_gan"}, data={"name": "squares"})
    assert json.dumps("digits")[1:-1] in (message := refused(one, other))
    assert "runs of unlike data cannot stand side by side" in message
    assert not (tmp_path / "report" / "report.html").exists()
