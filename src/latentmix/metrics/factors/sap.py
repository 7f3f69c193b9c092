"""The SAP score: how far the best unit of a code is ahead of the second best in predicting each factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

C = 0.01  # disentanglement_lib's inverse penalty of the support vector machines


def sap_score(h: Array, y: NDArray[np.int64], h_test: Array, y_test: NDArray[np.int64]) -> float:
    """Compute the SAP score: the gap between the test accuracies of the best two units, mean over factors.

    The accuracy of a unit for a factor is that of a linear support vector machine that sees this unit alone.

    Arguments:
        h, y: Codes (N, D), D >= 2, and factors (N, F), to train on.
        h_test, y_test: The same, to test on.

    Returns:
        A share from 0 to 1.

    References:
        Kumar et al., "Variational inference of disentangled latent concepts", ICLR 2018.
    """
    gaps = []
    for j in range(y.shape[1]):
        accuracies = [_accuracy(h[:, i], y[:, j], h_test[:, i], y_test[:, j]) for i in range(h.shape[1])]
        second, best = np.sort(accuracies)[-2:]
        gaps.append(best - second)
    return float(np.mean(gaps))


def _accuracy(x: Array, y: NDArray[np.int64], x_test: Array, y_test: NDArray[np.int64]) -> float:
    """Compute the test accuracy of a linear SVM with balanced classes on one unit, as LinearSVC does.

    Each class has a machine with squared hinge loss that tells it from the rest,

        min (w^2 + b^2) / 2 + sum_i C_i max(0, 1 - y_i (w x_i + b))^2,

    with C_i = C n / (classes n_class) for samples of the class itself and C for the rest; two classes share a
    single machine that weighs both. A machine has two unknowns, so Newton's method solves all of them at once
    in milliseconds.

    Arguments:
        x, x_test: The unit's values, shapes (N,) and (M,).
        y, y_test: Values of the factor, shapes (N,) and (M,).
    """
    classes, label, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        return float((y_test == y[0]).mean())
    weight = C * len(y) / (len(classes) * counts)
    if len(classes) == 2:
        target = np.where(label == 1, 1.0, -1.0)[None]
        cost = weight[label][None]
    else:
        own = np.arange(len(classes))[:, None] == label
        target = np.where(own, 1.0, -1.0)
        cost = np.where(own, weight[:, None], C)
    w, b = _machines(x, target, cost)
    decision = w[:, None] * x_test + b[:, None]
    guess = (decision[0] > 0).astype(int) if len(classes) == 2 else decision.argmax(0)
    return float((classes[guess] == y_test).mean())


def _machines(x: Array, target: Array, cost: Array) -> tuple[Array, Array]:
    """Solve K machines by Newton's method with step halving: x (N,), target and cost (K, N); w and b (K,)."""
    w, b = np.zeros(len(target)), np.zeros(len(target))

    def objective(w: Array, b: Array) -> Array:
        slack = np.maximum(0, 1 - target * (w[:, None] * x + b[:, None]))
        return (w**2 + b**2) / 2 + (cost * slack**2).sum(1)

    value = objective(w, b)
    for _ in range(50):
        slack = np.maximum(0, 1 - target * (w[:, None] * x + b[:, None]))
        pull = 2 * cost * target * slack
        g_w, g_b = w - pull @ x, b - pull.sum(1)
        active = 2 * cost * (slack > 0)
        h_ww, h_wb, h_bb = 1 + active @ x**2, active @ x, 1 + active.sum(1)
        determinant = h_ww * h_bb - h_wb**2
        d_w = (h_bb * g_w - h_wb * g_b) / determinant
        d_b = (h_ww * g_b - h_wb * g_w) / determinant
        size = np.ones(len(w))
        for _ in range(20):
            trial = objective(w - size * d_w, b - size * d_b)
            worse = trial > value
            if not worse.any():
                break
            size[worse] /= 2
        step = np.where(trial <= value, size, 0)
        w, b = w - step * d_w, b - step * d_b
        done = value - np.minimum(trial, value) <= 1e-9 * value
        value = np.minimum(trial, value)
        if done.all():
            break
    return w, b
