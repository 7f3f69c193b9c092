"""Where mixing takes the lead: the last crossing of two curves, by hand."""

from __future__ import annotations

import pytest

from latentmix.experiments.manifold_mixup.curves import crossing

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
