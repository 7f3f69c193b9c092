"""The linear probe: is the code useful to a linear classifier?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Encodes
from latentmix.metrics import Score, device_of, encode, metric

GRID = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@metric
def evaluate(
    method: Encodes,
    data: Data,
    *,
    seed: int = 0,
    grid: Annotated[Sequence[Annotated[float, Field(gt=0)]], Field(min_length=1)] = GRID,
) -> Score:
    """Accuracy on test images of a linear classifier trained on the frozen codes of the training images.

    Codes are standardised with the mean and deviation of the training codes. Multinomial logistic regression
    (scikit-learn, lbfgs), its strength C chosen on the validation codes, the smallest where equal; not fitted
    again on training and validation together. Nothing is drawn at random; `seed` changes nothing.

    Arguments:
        grid: Values of C to choose from: the inverse strength of the L2 penalty, on the sum of the losses.

    Returns:
        `offline_accuracy` on test, `offline_valid_accuracy`; where the method carries a probe that
        was trained along with it (AMR, section 4.1), that one's `online_accuracy`, `online_valid_accuracy`.

    Raises:
        ValueError: Data without labels, or with a single class.
    """
    (h_train, y_train), (h_valid, y_valid), (h_test, y_test) = labelled_codes(method, data)
    values: dict[str, float] = {}
    if getattr(method, "probe", None) is not None:
        for name, h, y in (("online_valid_accuracy", h_valid, y_valid), ("online_accuracy", h_test, y_test)):
            values[name] = _online(method, h, y)

    standardise(h_train, h_valid, h_test)
    valid_accuracy, classifier, protocol = fit(h_train, y_train, h_valid, y_valid, grid)
    values["offline_valid_accuracy"] = valid_accuracy
    values["offline_accuracy"] = float(classifier.score(h_test.numpy(), y_test.numpy()))
    counts = {"n_train": len(y_train), "n_valid": len(y_valid), "n_test": len(y_test)}
    return Score(
        values, protocol | counts | {"units": h_train.shape[1], "scaling": "training mean and deviation"}
    )


def fit(
    h: Tensor, y: Tensor, h_valid: Tensor, y_valid: Tensor, grid: Sequence[float] = GRID
) -> tuple[float, Any, dict[str, object]]:
    """Fit a logistic regression for each C and keep the one with the best validation accuracy.

    Arguments:
        h, y: Codes (N, D) and class indices (N,) to fit.
        h_valid, y_valid: The same, to choose C by; of equal ones the smallest C is taken.
        grid: Values of C.

    Returns:
        Its validation accuracy, the scikit-learn classifier, and the protocol.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    accuracies: dict[float, float] = {}
    best, best_c, converged = None, 0.0, True
    start: tuple[Any, Any] | None = None
    for c in sorted(grid):
        classifier = LogisticRegression(C=c, max_iter=200, warm_start=True)
        if start is not None:  # the path from strong to weak penalties costs less than separate fits
            classifier.coef_, classifier.intercept_ = start[0].copy(), start[1].copy()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            classifier.fit(h.numpy(), y.numpy())
        converged &= not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        start = (classifier.coef_, classifier.intercept_)
        accuracies[c] = float(classifier.score(h_valid.numpy(), y_valid.numpy()))
        if best is None or accuracies[c] > accuracies[best_c]:
            best, best_c = classifier, c
    protocol: dict[str, object] = {
        "classifier": "multinomial logistic regression, lbfgs, at most 200 iterations",
        "grid": sorted(grid),
        "C": best_c,
        "valid_accuracy_by_C": {str(c): a for c, a in accuracies.items()},
        "converged": converged,
        "refit_on_validation": False,
    }
    return accuracies[best_c], best, protocol


def labelled_codes(method: Encodes, data: Data) -> list[tuple[Tensor, Tensor]]:
    """Encode the training, validation and test images that have a label; return their codes and labels.

    Raises:
        ValueError: The data have no labels, a single class, or a split without labelled images.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for name, all_of_it in (("training", data.train), ("validation", data.valid), ("test", data.test)):
        split = all_of_it.labelled()
        if split.labels is None:
            raise ValueError("this metric needs labels; the data have none")
        if not len(split):
            raise ValueError(f"this metric needs {name} images with labels; the data have none")
        if name == "training" and len(torch.unique(split.labels)) < 2:
            raise ValueError("this metric needs at least two classes; the training images have one")
        found.append((encode(method, split), split.labels.cpu()))
    return found


def standardise(train: Tensor, *others: Tensor) -> None:
    """Standardise codes in place: subtract the mean of the first ones and divide by their deviation.

    Each unit is treated alone. Units that do not vary, beyond the rounding of their type, are only shifted.
    """
    mean, std = train.mean(0), train.std(0, correction=0)
    std[std <= 8 * torch.finfo(train.dtype).eps * mean.abs()] = 1
    for h in (train, *others):
        h.sub_(mean).div_(std)


@torch.no_grad()
def _online(method: Any, h: Tensor, y: Tensor) -> float:
    logits = torch.cat([method.probe(part.to(device_of(method))).cpu() for part in h.split(500)])
    return float((logits.argmax(1) == y).double().mean())
