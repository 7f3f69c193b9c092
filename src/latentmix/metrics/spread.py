"""How tight classes lie in the code, and how far apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentmix.data import Data, Split
from latentmix.methods.classifier import Classifier
from latentmix.methods.portions import rows_at_once
from latentmix.methods.roles import Encodes
from latentmix.metrics import Score, device_of, encode, metric


@metric
def evaluate(method: nn.Module, data: Data, *, seed: int = 0) -> Score:
    """How far apart the classes of test images lie in the code, in units of how wide each of them is.

    The code is that of `encode`, or the output of a classifier's layer "bottleneck".

    Returns:
        `spread_ratio`: variance of the class means over the mean variance within classes, both summed over
            units; 0 if all classes are alike.

    Raises:
        ValueError: Data without labels, or a method without such a code.

    References:
        Manifold Mixup v1, figures 5 and 8, which show it and do not measure it.
    """
    if data.test.labels is None:
        raise ValueError("spread needs data with labels, and these have none")
    codes = codes_of(method, data.test)
    return Score({"spread_ratio": spread_ratio(codes, data.test.labels.cpu())}, {"n": len(codes)})


@torch.no_grad()
def codes_of(method: nn.Module, split: Split) -> Tensor:
    """Compute the codes of a split, (N, D), on the CPU: by `encode`, or a classifier's layer "bottleneck".

    Raises:
        ValueError: A method that has neither.
    """
    if isinstance(method, Encodes):
        return encode(method, split)
    narrow = getattr(method.network, "bottleneck", None) if isinstance(method, Classifier) else None
    if narrow is None:
        raise ValueError(
            "spread needs a method that encodes images (encode), or a classifier "
            "with method.network=bottleneck"
        )
    device = device_of(method)

    def codes(index: Tensor | slice) -> Tensor:
        return narrow(method.prepare(split.pixels(index).to(device)))  # type: ignore[operator]

    count = rows_at_once(lambda _: codes(slice(0, 1)), split.images[:1])
    rows = torch.arange(len(split), device=split.images.device).split(count)
    return torch.cat([codes(part).cpu() for part in rows])


def spread_ratio(codes: Tensor, labels: Tensor) -> float:
    """Divide the variance of class means by the mean variance within classes, both summed over units.

    Classes are weighted by their sizes; the ratio is 0 for a single class.

    Arguments:
        codes: Shape (N, D).
        labels: Class indices, shape (N,).
    """
    present, index = labels.unique(return_inverse=True)
    means = torch.stack([codes[index == c].mean(0) for c in range(len(present))])
    between = (means[index] - codes.mean(0)).square().sum(1).mean()
    within = (codes - means[index]).square().sum(1).mean()
    return (between / within.clamp_min(1e-30)).item()
