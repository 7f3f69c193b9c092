"""Classification: how often is a classifier right, and does it know how sure to be?"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from latentmix.data import Data, Split
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Classifies
from latentmix.metrics import Score, metric, require_finite


@metric
def evaluate(
    method: Classifies, data: Data, *, seed: int = 0, bins: Annotated[int, Field(ge=2)] = 15
) -> Score:
    """Accuracy on test images, the cross-entropy (NLL), and the calibration error of the confidence.

    Nothing is drawn at random; `seed` changes nothing.

    Arguments:
        bins: Intervals of equal width into which confidence is cut for the calibration error.

    Returns:
        `accuracy`, `nll` in nats, `ece`; the same with `_valid` on validation images, where they have labels.

    Raises:
        ValueError: Test images without labels, labels beyond the classes of the method, or logits that are
            not finite.
    """
    test, valid = known(data.test, "test"), data.valid.labelled()
    scores = measures(*predictions(method, test), bins=bins)
    protocol: dict[str, object] = {"n_test": len(test), "bins": bins}
    if valid.labels is not None and len(valid):
        also = measures(*predictions(method, valid), bins=bins)
        scores |= {f"{name}_valid": value for name, value in also.items()}
        protocol["n_valid"] = len(valid)
    return Score(scores, protocol)


def measures(logits: Tensor, y: Tensor, *, bins: int = 15) -> dict[str, float]:
    """Compute accuracy, cross-entropy and calibration error of logits (N, K) for class indices y (N,).

    With B_b the images whose largest probability lies in the b-th of `bins` equal intervals of 0..1, the
    expected calibration error is sum_b |B_b| / N |accuracy(B_b) - mean confidence(B_b)|.

    Returns:
        `accuracy` and `ece` in 0..1, and `nll` in nats.

    Raises:
        ValueError: Other shapes, labels out of range, or logits that are not finite.

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    if logits.ndim != 2 or y.shape != logits.shape[:1] or not len(y):
        raise ValueError(
            f"need logits (N, K) and labels (N,), got {tuple(logits.shape)} and {tuple(y.shape)}"
        )
    if int(y.min()) < 0 or int(y.max()) >= logits.shape[1]:
        raise ValueError(
            f"labels run from {int(y.min())} to {int(y.max())}, but the method has {logits.shape[1]} classes"
        )
    require_finite(logits, "logits")
    logits = logits.double()
    right = (logits.argmax(1) == y).double()
    confidence = logits.softmax(1).max(1).values
    which = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).scatter_add_(0, which, right - confidence)
    return {
        "accuracy": float(right.mean()),
        "nll": float(F.cross_entropy(logits, y)),
        "ece": float(gap.abs().sum() / len(y)),
    }


@torch.no_grad()
def predictions(method: Classifies, split: Split) -> tuple[Tensor, Tensor]:
    """Compute the logits (N, K) of a split; return them and its labels, on the CPU."""
    assert split.labels is not None
    rows = torch.arange(len(split), device=split.images.device).split(split.at_once)
    logits = torch.cat([in_portions(method, "classify", split.pixels(i)).float().cpu() for i in rows])
    return logits, split.labels.cpu()


def known(split: Split, what: str) -> Split:
    """Return the images with labels.

    Arguments:
        what: Name of the split, for the message.

    Raises:
        ValueError: No image has a label.
    """
    labelled = split.labelled()
    if labelled.labels is None or not len(labelled):
        raise ValueError(f"this metric needs {what} images with labels; the data have none")
    return labelled
