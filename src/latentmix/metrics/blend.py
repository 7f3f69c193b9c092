"""Whether a decoded mix of codes is more than the blend of two decoded images."""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Count, Score, device_of, metric, require_finite
from latentmix.metrics.walks.variety import IMAGES, measure


@metric
def evaluate(method: Autoencodes, data: Data, *, seed: int = 0, n: Count = 1000) -> Score:
    """How far decoded mixes of two codes, half and half, are from blends of the two decoded images.

    Each of the first n test images is mixed with the one before it in its batch of 50.

    Returns:
        `apart_from_blend`, the mean square difference, pixels in [-1, 1]: 0 if mixing codes were mixing
            pixels, NaN if the model is collapsed (`walks.variety`); `error`, the mean square error of decoded
            test images; and the variety.
    """
    device = device_of(method)
    rows = torch.arange(min(n, len(data.test)), device=data.test.images.device)
    error = apart = 0.0
    seen, rebuilt, mixed = list[Tensor](), list[Tensor](), list[Tensor]()
    for part in rows.split(50):
        x = data.test.pixels(part).to(device)
        h = in_portions(method, "encode", x)
        require_finite(h, "codes")
        decoded = in_portions(method, "decode", h)
        require_finite(decoded, "decoded images")
        error += (decoded - x).square().flatten(1).mean(1).sum().item()
        middle = in_portions(method, "decode", (h + h.roll(1, 0)) / 2)
        if len(seen) * 50 < IMAGES:
            seen.append(x.cpu())
            rebuilt.append(decoded.cpu())
            mixed.append(middle.cpu())
        apart += (middle - (decoded + decoded.roll(1, 0)) / 2).square().flatten(1).mean(1).sum().item()
    values = {"apart_from_blend": apart / len(rows), "error": error / len(rows)}
    variety = measure(torch.cat(seen), torch.cat(rebuilt), torch.cat(mixed))
    return Score(variety.gate(values, ["error"]), {"n": len(rows), "seed": seed} | variety.protocol)
