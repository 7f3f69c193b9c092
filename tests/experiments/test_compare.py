"""`latentmix compare`: real small comparisons, the search for lambda, verdicts in words, mistakes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import terminal
from latentmix.experiments import compare
from latentmix.tables import result
from latentmix.tables.pairs import Values, front, pairs

SMALL = ("image_size=16", "train_size=128", "batch_size=16", "method.network.width=4")
METHODS = ("one: autoencoder", "two: autoencoder", "other: amr")


def pictures(path: Path) -> Path:
    """Blurred noise without labels."""
    images = np.random.default_rng(0).integers(0, 255, (200, 16, 16), np.uint8)
    np.savez(path, images=(images // 2 + np.roll(images, 1, 2) // 2).astype(np.uint8))
    return path


def test_one_method_under_two_names_is_noise_and_lambda_is_searched(tmp_path: Path) -> None:
    data = f"data={pictures(tmp_path / 'mine.npz')}"
    words = (data, *SMALL, "steps=20", "--methods", *METHODS, "--lambdas", "2,5", "--seeds", 2, "--jobs", 1)
    done = terminal.typed("compare", *words, cwd=tmp_path)
    assert done.code == 0, done
    assert "one and two are the same training under two names." in done.out
    assert "- other: lambda " in done.out
    assert "the best of 2, 5 on validation" in done.out
    assert "one: lambda" not in done.out, "it has none"
    assert "Lambda of other: " in done.out
    assert "By these seeds it cannot be told from " in done.out
    assert "no labels" in done.out
    made = tmp_path / "runs" / "compare" / "tables"
    rows = list(csv.DictReader((made / "compare-mine-pairs.csv").open()))
    same = [row["verdict"] for row in rows if {row["better"], row["worse"]} == {"one", "two"}]
    collapsed = "Collapsed, so that they cannot lead: one" in done.out
    assert same == [] if collapsed else ["noise"] * 2
    assert {path.suffix for path in made.iterdir()} == {".md", ".csv", ".tex", ".png", ".html"}
    assert (made / "compare-mine.html").read_text().count(">report</a>") == 6
    again = terminal.typed("compare", *words, cwd=tmp_path)
    assert "started" not in again.out, "everything is finished"


@pytest.mark.slow
def test_the_defaults_on_digits(tmp_path: Path) -> None:
    """Probe, realism of mixes and the picture of Pareto's front; five methods."""
    done = terminal.typed("compare", "data=digits", "train_size=256", "steps=40", "--seeds", 2, cwd=tmp_path)
    assert done.code == 0, done
    assert "realism of mixes" in done.out
    assert (tmp_path / "runs/compare/tables/compare-digits-pareto.png").stat().st_size > 10_000


def test_the_default_methods_can_be_read() -> None:
    found = compare.Comparison(("data=digits",)).runs
    assert len(found) == len(compare.METHODS)
    assert found["AMR Bernoulli"].method["mixer"]["name"] == "bernoulli"
    assert len({(run.steps, run.batch_size, run.image_size) for run in found.values()}) == 1


def words_of(values: Values, fallen: tuple[str, ...] = ()) -> str:
    found = pairs(values)
    return " ".join(compare.verdict(values, found, front(values, found), fallen))


def test_verdicts_in_words() -> None:
    apart = {"a": [1.0, 1.1, 0.9, 1.0], "b": [9.0, 9.1, 8.95, 9.05]}
    equal = {"a": [1.0, 1.2, 0.8, 1.0], "b": [1.1, 0.9, 1.0, 1.05]}
    text = words_of({"x": apart, "y": equal})
    assert text.startswith("Verdict: no other method is better than b, all measures together.")
    assert "x: b is better than every other method, beyond chance." in text
    assert "y: noise." in text
    assert "for all 2 comparisons" in text
    assert words_of({"x": equal, "y": equal}).startswith("Verdict: noise.")
    assert "Collapsed, so that they cannot lead: c." in words_of({"x": equal}, ("c",))


def test_verdicts_where_nothing_can_be_told() -> None:
    assert words_of({"x": {"a": [1.0, 2.0]}}).startswith("Verdict: none. Fewer than two methods have numbers")
    assert words_of({"x": {}}, ("a", "b")).startswith("Verdict: none.")
    single = words_of({"x": {"a": [1.0], "b": [9.0]}})
    assert single.startswith("Verdict: noise. One seed cannot tell a difference from chance; try --seeds 5.")


@pytest.mark.parametrize(("fallen_of_two", "named"), [(1, False), (2, True), (3, True)])
def test_a_method_is_collapsed_if_most_of_its_trainings_are(
    tmp_path: Path, fallen_of_two: int, named: bool
) -> None:
    """With one of three its numbers are compared, the lacking one as the worst of all."""
    methods = ("one: autoencoder", "two: autoencoder lr=1e-4")
    asked = compare.Comparison(("data=digits",), methods, seeds=3, out=tmp_path)
    tasks = asked.tasks()
    for task in tasks:
        fallen = task.cell.name == "two" and task.run.seed < fallen_of_two
        scores = {
            "reconstruction": {"values": {"psnr": 20.0 + task.run.seed}, "protocol": {}},
            "probe": {"values": {"offline_accuracy": 0.9}, "protocol": {}},
            "honesty": {
                "values": {"density": None if fallen else 0.25 + task.run.seed / 8},
                "protocol": {"collapsed": True, "collapsed_because": "all alike"} if fallen else {},
            },
        }
        folder = result.run_of(tmp_path, task.key)
        folder.mkdir(parents=True)
        made = result.Result(folder, scores, {}, task.metrics, 1.0, "1", task.checkpoint)
        result.write(tmp_path, task, made, {})
    values, fallen_methods, partly = asked.values(tasks)
    assert fallen_methods == (["two"] if named else [])
    assert partly == ({} if named else {"two": "1 of 3"})
    assert values["realism of mixes"]["one"] == [0.25, 0.375, 0.5]
    if not named:
        assert values["realism of mixes"]["two"] == [0.25, 0.375, 0.5]  # the first is lacking
        assert values["PSNR (dB)"]["two"] == [20.0, 21.0, 22.0]
        found = pairs(values)
        text = " ".join(compare.verdict(values, found, front(values, found), fallen_methods, (), partly))
        assert text.startswith("Verdict: noise.")
        assert (
            "two: 1 of 3 trainings collapsed; where nothing can be measured of one, it counts as the" in text
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lambdas", "2", "5", "1O"), "--lambdas 2 5 1O: '1O' is not a positive number"),
        (("--lambdas", "2,-5"), "'-5' is not a positive number"),
        (("--lambdas", ","), "--lambdas ,: no number is given"),
        (("--lambdas", "nan", "2"), "--lambdas nan 2: 'nan' is not a positive number"),
        (("--lambdas",), "--lambdas needs a value"),
        (("--methods",), "--methods needs a value"),
        (
            ("--methods", "autoencoder", "--lambdas", "2"),
            "no method here has a lambda that is not set: ",
        ),
        (("--methods", "amr method.lamb=3", "--lambdas", "2"), "has a lambda that is not set: amr lamb=3"),
        (("--methods", "amr", "ae_gn"), "no method is named 'ae_gn' (did you mean ae_gan?)"),
        (("--methods", "amr", "amr steps=9"), "steps=9 must be the same for all methods"),
        (("--methods", "amr", "amr"), "two methods are called 'amr'"),
        (("--methods", "method.mixer=bernoulli"), "must begin with a method's name"),
        (("seed=3",), "seed=3: differs between trainings; use --seeds"),
        (("data=nowhere/at/all",), "nowhere/at/all"),
        (("stepps=3",), "did you mean steps"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert message in terminal.refusal(terminal.typed("compare", *words, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()
