"""`latentmix evaluate` and `latentmix parts` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

from latentmix import runs
from latentmix.config import catalogue
from terminal import refusal, typed


def test_a_score_is_kept_and_not_computed_twice(spoilt_run: Path) -> None:
    before = (spoilt_run / "report.html").read_bytes()
    first = typed("evaluate", "tiny", "probe", cwd=spoilt_run.parent)
    assert first.code == 0, first.err
    assert first.err.splitlines()[0] == "AMR: weights of best, epoch 1"
    assert first.err.splitlines()[1].startswith("probe: ")
    kept = runs.read_scores(spoilt_run)
    assert kept.keys() == {"training", "probe"}
    assert {"values", "protocol", "seconds", "weights_sha256", "options"} <= kept["probe"].keys()
    shown = f"{100 * kept['probe']['values']['offline_accuracy']:.1f} %"
    assert any("offline_accuracy " in line and shown in line for line in first.out.splitlines())
    assert (spoilt_run / "report.html").read_bytes() != before

    again = typed("evaluate", "tiny", cwd=spoilt_run.parent)  # probe is the default
    assert again == (0, first.out, "AMR: weights of best, epoch 1\n")
    assert runs.read_scores(spoilt_run) == kept

    other = typed("evaluate", "tiny", "probe", "--seed", "1", cwd=spoilt_run.parent)
    assert other.err.splitlines()[1].startswith("probe.seed=1: ")


def test_a_metric_that_does_not_apply_says_why_and_stops_no_other(spoilt_run: Path) -> None:
    done = typed("evaluate", "tiny", "disentanglement", "probe", cwd=spoilt_run.parent)
    assert done.code == 0, done.err
    assert "disentanglement: this metric needs data with factors" in done.err
    assert {line.split()[0] for line in done.out.splitlines()} == {"probe"}
    assert runs.read_scores(spoilt_run).keys() == {"training", "probe"}
    alone = typed("evaluate", "tiny", "disentanglement", cwd=spoilt_run.parent)
    assert "disentanglement: this metric needs data with factors" in refusal(alone)


def test_options_mend_what_does_not_apply_and_are_part_of_the_score(spoilt_run: Path) -> None:
    done = typed("evaluate", "tiny", "knn.k=20", cwd=spoilt_run.parent)
    assert done.code == 0, done.err
    kept = json.loads((spoilt_run / "scores.json").read_text())["knn.k=20"]
    assert kept["options"] == {"seed": 0, "k": 20, "temperature": 0.1}
    wrong = typed("evaluate", "tiny", "probe", "knn.kk=20", "clusters.restarts=few", cwd=spoilt_run.parent)
    assert refusal(wrong).splitlines() == [
        "latentmix: knn.kk: unknown option of knn (did you mean k?); options are seed, k, temperature",
        "clusters.restarts: Input should be a valid integer, unable to parse string as an integer; got 'few'",
    ]
    assert wrong.out == ""


def test_inception_that_is_not_at_hand_stops_no_other(spoilt_run: Path) -> None:
    done = typed("evaluate", "tiny", "frechet.features=inception", "probe", cwd=spoilt_run.parent)
    assert "frechet.features=inception: features=inception needs " in done.err
    assert {line.split()[0] for line in done.out.splitlines()} == {"probe"}


def test_parts_lists_everything_by_name(tmp_path: Path) -> None:
    done = typed("parts", cwd=tmp_path)
    assert done.code == 0, done.err
    words = {line.split()[0] for line in done.out.splitlines() if line.startswith("  ") and line[2] != " "}
    everything = [part for kind in catalogue.FOLDERS for part in catalogue.find(kind).values()]
    assert words == {part.name for part in everything}
    for part in everything:
        assert part.summary, part.name
        assert part.summary in done.out
    one = typed("parts", "mixer", cwd=tmp_path)
    assert one.out.startswith("mixers\n  bernoulli ")
    assert "k=2, p=sample, self_pairs=True" in one.out
    assert one.out in done.out


def test_a_run_that_does_not_mix_says_what_it_can_do(tmp_path: Path, tiny_settings: list[str]) -> None:
    assert typed("train", *tiny_settings, "method=classifier", "out=judge", cwd=tmp_path).code == 0
    for words in (["explore", "judge"], ["export", "judge"], ["mix", "judge", "a.png", "b.png"]):
        message = refusal(typed(*words, cwd=tmp_path))
        assert "judge was trained by method=classifier, which has no encoder and no decoder" in message
        assert "name a run of an autoencoder, such as method=amr" in message
    done = typed("evaluate", "judge", cwd=tmp_path)  # by default what fits
    assert done.code == 0, done.err
    assert done.out.startswith("classification ")
    alone = typed("evaluate", "judge", "knn", cwd=tmp_path)
    assert alone.code == 2
    assert "metrics that fit it: classification, interpolation, robustness" in alone.err
