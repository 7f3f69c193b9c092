"""Whether decoded mixes of points of the spiral lie on the spiral."""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix.data import Data
from latentmix.data.sources import spiral
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Count, Score, device_of, metric
from latentmix.metrics.walks.mixes import mixer_of
from latentmix.metrics.walks.variety import measure
from latentmix.mixing import Mixup

WITHIN = 0.05  # five deviations of the data, an eighth of the way to the next arm


@metric
def evaluate(method: Autoencodes, data: Data, *, seed: int = 0, n: Count = 2000) -> Score:
    """How many decoded mixes of new points of the spiral lie within 0.05 of it, from 0 to 1.

    Arguments:
        n: Points, each mixed with another one.

    Returns:
        `mixes_on_spiral` and `reconstructions_on_spiral`, shares; `mix_distance`, the mean distance of mixes;
        `inconsistency`, the mean distance of a mixed code from its re-encoding, in deviations of the codes;
        `blends_on_spiral`, the share of mixes of the points themselves: chance; and the variety. All others
        are NaN if the model is collapsed (`walks.variety`): one point on the spiral for every code would have
        a share of 1.

    Raises:
        ValueError: Other data than data=spiral.

    References:
        AMR, appendix, figure 12.
    """
    if data.source != "spiral":
        raise ValueError("on_spiral needs data=spiral")
    x, h, h_mix = points_and_codes(method, n, seed)
    x_mix, rebuilt = in_portions(method, "decode", h_mix), in_portions(method, "decode", h)
    away = spiral.distance(x_mix)
    again = (in_portions(method, "encode", x_mix) - h_mix).norm(dim=1).mean() / h.std(0).norm()
    blends = Mixup()(x, torch.Generator().manual_seed(1000 + seed))(x)
    values = {
        "mixes_on_spiral": _share(x_mix),
        "reconstructions_on_spiral": _share(rebuilt),
        "mix_distance": away.mean().item(),
        "inconsistency": again.item(),
        "blends_on_spiral": _share(blends),
    }
    variety = measure(x.cpu(), rebuilt.cpu(), x_mix.cpu(), blends.cpu())
    protocol = {"n": n, "within": WITHIN, "seed": seed} | variety.protocol
    return Score(variety.gate(values, ["blends_on_spiral"]), protocol)


@torch.no_grad()
def points_and_codes(method: Autoencodes, n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw new points (n, 2, 1, 1), encode them, and mix their codes as the method does; return all three."""
    generator = torch.Generator().manual_seed(1000 + seed)
    x = spiral.draw(n, generator=generator).to(device_of(method))
    h = in_portions(method, "encode", x)
    return x, h, mixer_of(method, "own")(h, generator)(h)


def _share(points: Tensor) -> float:
    return (spiral.distance(points) < WITHIN).float().mean().item()
