"""Hours of tables: images over the rate of each system, and how they are listed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from latentmix.experiments import costs, reproduce, table
from latentmix.tables.plan import plan

KMNIST = "KMNIST: AMR *"


def test_what_changes_no_step_changes_no_system() -> None:
    tasks = plan(table("amr-table1"), "paper", only=(KMNIST, "MNIST: AE+GAN", "MNIST: ACAI"))
    systems = {task.cell.name: costs.system(task.run) for task in tasks}
    assert len(set(systems.values())) == 4  # AE+GAN, ACAI, AMR of two and of three
    assert systems["KMNIST: AMR mixup 2"] == systems["KMNIST: AMR Bern 2"]
    clean = plan(table("amr-table1"), "short", only=("MNIST: AE+GAN",))[0].run
    assert costs.system(clean) != systems["MNIST: AE+GAN"]  # every player on every batch


def test_hours_are_images_over_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = plan(table("amr-table1"), "paper", seeds=2, only=("MNIST: AE+GAN",))
    known = {costs.system(tasks[0].run): 100.0}
    monkeypatch.setattr(costs, "rates", lambda: known)
    assert costs.hours(tasks) == pytest.approx(2 * 2000 * 50_000 / 100 / 3600)
    assert costs.hours([*tasks, tasks[0]]) == costs.hours(tasks)  # a training that two cells share
    assert "2 trainings, 200,000,000 images, about 556 processor hours" in reproduce.cost(tasks, None)
    other = dataclasses.replace(tasks[0], key="other", run=dataclasses.replace(tasks[0].run, batch_size=3))
    assert costs.hours([*tasks, other]) is None
    assert "hours not measured" in reproduce.cost([*tasks, other], None)


def test_measured_rates_name_their_processor() -> None:
    kept = json.loads(costs.RATES.read_text())
    assert kept["date"]
    assert kept["processor"]
    assert all(rate > 0 for rate in kept["rates"].values())
    of = {costs.system(task.run) for task in plan(table("amr-table1"), "paper", seeds=1)}
    assert of <= set(kept["rates"])


def test_the_list_says_what_is_finished(tmp_path: Path) -> None:
    text = reproduce.listing(tmp_path / "none", tmp_path / "none")
    assert "51 trainings, 11,790,411,000 images, about " in text
    assert text.count("; 0 finished") > 30
    assert "recorded" not in text
