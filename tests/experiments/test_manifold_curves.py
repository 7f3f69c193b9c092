"""Where mixing takes the lead: the last crossing of two curves, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmix import runs
from latentmix.experiments.manifold_mixup.curves import accuracies, crossing

PLAIN = {2: 50.0, 4: 60.0, 6: 65.0, 8: 66.0}


@pytest.mark.parametrize(
    ("mixed", "epoch"),
    [
        ({2: 40.0, 4: 55.0, 6: 66.0, 8: 70.0}, 6),
        ({2: 51.0, 4: 55.0, 6: 64.0, 8: 66.5}, 8),  # an early lead that is lost does not count
        ({2: 51.0, 4: 61.0, 6: 66.0, 8: 67.0}, 2),
        ({2: 51.0, 4: 61.0, 6: 66.0, 8: 66.0}, None),  # equal at the end is not ahead
        ({2: 40.0, 4: 61.0}, 4),  # only epochs that both have
    ],
)
def test_the_epoch_from_which_mixing_leads_to_the_end(mixed: dict[int, float], epoch: int | None) -> None:
    assert crossing(PLAIN, mixed) == epoch


def test_accuracies_are_means_over_runs_at_the_epochs_that_all_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def log(*values: float) -> list[dict[str, object]]:
        valid = [
            {"kind": "valid", "epoch": 2 * n + 1, "values": {"accuracy": v}} for n, v in enumerate(values)
        ]
        return [{"kind": "train", "epoch": 0, "values": {"loss/network": 1.0}}, *valid]

    logs = {Path("a"): log(0.25, 0.5, 0.75), Path("b"): log(0.5, 0.625)}
    monkeypatch.setattr(runs, "read_log", logs.__getitem__)
    assert accuracies(list(logs)) == {2: 37.5, 4: 56.25}
