"""Nearest neighbours: do similar codes carry the same label?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.data import Data
from latentmix.methods.roles import Encodes
from latentmix.metrics import Count, Score, metric, require_finite
from latentmix.metrics.probe import labelled_codes


@metric
def evaluate(
    method: Encodes, data: Data, *, seed: int = 0, k: Count = 200, temperature: float = 0.1
) -> Score:
    """Accuracy on test images when each is given the class of its nearest training codes.

    Raw codes are compared by cosine. Nothing is drawn at random; `seed` changes nothing. With k = 200 and
    temperature 0.1 the protocol of Wu et al. (2018) as kept by lightly; k = 20 and 0.07 is solo-learn's.

    Arguments:
        k: Number of neighbours that vote. With fewer training images all of them vote, and the protocol says
            so.
        temperature: A neighbour of cosine c votes with exp(c / temperature).

    Returns:
        `knn_accuracy` on test and `knn_valid_accuracy`.

    Raises:
        ValueError: Data without labels or with one class; temperature not above 0.
    """
    (h, y), (h_valid, y_valid), (h_test, y_test) = labelled_codes(method, data)
    asked, k = k, min(k, len(y))
    values = {
        "knn_accuracy": accuracy(h, y, h_test, y_test, k=k, temperature=temperature),
        "knn_valid_accuracy": accuracy(h, y, h_valid, y_valid, k=k, temperature=temperature),
    }
    protocol: dict[str, object] = {
        "k": k,
        "k_asked": asked,
        "temperature": temperature,
        "distance": "cosine, codes not centred",
    }
    protocol |= {"n_train": len(y), "n_valid": len(y_valid), "n_test": len(y_test)}
    return Score(values, protocol)


def accuracy(
    codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor, *, k: int, temperature: float
) -> float:
    """Compute the share of test codes whose class gets the largest sum of exp(cos / temperature).

    The sum is over the k training codes that are nearest by cosine.

    Arguments:
        codes, labels: The neighbours, shapes (N, D) and (N,).
        test_codes, test_labels: The codes that are classified, shapes (M, D) and (M,).
        k: Number of neighbours.

    Raises:
        ValueError: k not in 1..N, temperature not above 0, or codes that are not finite.
    """
    require_finite(codes, "codes")
    require_finite(test_codes, "test codes")
    if not 1 <= k <= len(codes):
        raise ValueError(f"k={k} neighbours cannot be found among {len(codes)} training codes")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: must be above 0")
    codes, test_codes = (h if h.is_floating_point() else h.float() for h in (codes, test_codes))
    known = F.normalize(codes, dim=1)
    classes = int(max(labels.max(), test_labels.max())) + 1
    correct = 0
    for h, y in zip(F.normalize(test_codes, dim=1).split(1000), test_labels.split(1000)):
        cosine, nearest = (h @ known.T).topk(k, dim=1)
        # Relative to the nearest: that changes no vote, and underflows for none that counts.
        votes = cosine.new_zeros(len(h), classes)
        votes.scatter_add_(1, labels[nearest], torch.exp((cosine - cosine[:, :1]) / temperature))
        correct += int((votes.argmax(1) == y).sum())
    return correct / len(test_labels)
