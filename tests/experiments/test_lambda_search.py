"""The search for lambda: validation images decide, and the sentences say what is noise."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmix.experiments import lambda_search
from latentmix.experiments.compare import Comparison
from latentmix.experiments.lambda_search import ERROR, PROBE, Found
from latentmix.tables import result
from latentmix.tables.plan import Task

METHODS = ("plain: autoencoder", "mixed: amr", "set: amr method.lamb=3")


def trained(out: Path, task: Task, valid: float, test: float) -> None:
    values = {PROBE: valid, ERROR: 1 - valid, "test_probe_accuracy": test, "test_reconstruction": 1 - test}
    where = result.run_of(out, task.key)
    where.mkdir(parents=True)
    made = result.Result(where, {"training": {"values": values, "protocol": {}}}, {}, (), 1.0, "1")
    result.write(out, task, made, {})


@pytest.mark.parametrize("labelled", [True, False])
def test_validation_images_decide_and_test_images_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    """Lambda 5 is best on validation images, 10 on test images."""
    asked = Comparison(("data=digits",), METHODS, 2, (2.0, 5.0, 10.0), tmp_path)
    monkeypatch.setitem(asked.__dict__, "labelled", labelled)
    tasks = asked.search()
    assert [task.cell.name for task in tasks] == [f"mixed: lambda {x}" for x in (2, 5, 10)] * 2
    assert all(task.metrics == () for task in tasks)
    for task in tasks:
        valid, test = {2: (0.5, 0.1), 5: (0.75, 0.2), 10: (0.625, 0.9)}[task.run.method["lamb"]]
        trained(tmp_path, task, valid, test)
    lamb = {task.cell.name: task.run.method.get("lamb") for task in asked.tasks()}
    assert lamb == {"plain": None, "mixed": 5.0, "set": 3.0}
    (text,) = lambda_search.notes(asked.searched())
    assert text.startswith(f"Lambda of mixed: 5, by the {'probe' if labelled else 'reconstruction error'} o")


def test_a_value_that_failed_is_left_out_by_name(tmp_path: Path) -> None:
    asked = Comparison(("data=digits",), METHODS, 1, (2.0, 5.0), tmp_path)
    first, second = asked.search()
    result.fail(tmp_path, first, "too little memory")
    found = lambda_search.read([first, second], tmp_path, labelled=True)
    assert lambda_search.notes(found) == [
        "Lambda 2 of mixed is left out: 1 of 1 trainings have no result (too little memory).",
        "Lambda 5 of mixed is left out: 1 of 1 trainings have no result (not finished).",
        "Lambda of mixed: its default, as no value was trained to the end.",
    ]
    trained(tmp_path, second, 0.5, 0.5)
    found = lambda_search.read([first, second], tmp_path, labelled=True)
    assert lambda_search.notes(found)[1:] == [
        "Lambda of mixed: 5, by the probe on validation images (5: 50.00 %)."
    ]


@pytest.mark.parametrize(
    ("measure", "values", "text"),
    [
        (
            PROBE,
            {2.0: [0.50, 0.52, 0.51], 5.0: [0.53, 0.50, 0.53]},
            "2: 51.00 %). It is 1.00 points above 2. By these seeds it cannot be told from 2 (p = ",
        ),
        (
            ERROR,
            {2.0: [0.30, 0.31, 0.32], 5.0: [0.10, 0.11, 0.12], 10.0: [0.50, 0.51, 0.5201]},
            "(5: 0.11; 2: 0.31; 10: 0.51). It is 0.2 below 2, beyond chance (p = ",
        ),
        (
            PROBE,
            {2.0: [0.5], 5.0: [0.75]},
            "25.00 points above 2; one seed cannot tell that from chance.",
        ),
    ],
)
def test_the_sentence_says_by_how_much_and_whether_it_is_noise(
    measure: str, values: dict[float, list[float]], text: str
) -> None:
    (said,) = Found(measure, values).sentences("AMR")
    assert said.startswith("Lambda of AMR: 5, by the ")
    assert text in said
