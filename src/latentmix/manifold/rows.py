"""Mixtures of the rows of a table or of embeddings: for scikit-learn, and whoever holds features only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from latentmix.mixing import Mix, Mixer, Mixup


@dataclass(frozen=True)
class MixedRows:
    """Adds mixtures of rows to a table: x = sum_j a_j x_j, and y likewise, the weights drawn by any mixer.

    `fit_resample` gives a table that every estimator takes: a number is mixed, y = sum_j a_j y_j, and a class
    is drawn from those of the parents, y_j with probability a_j. The expected loss of that is the loss of
    mixup, sum_j a_j l(f(x), y_j). `resample_weighted` has no draw and so less variance: each mixture stands
    there once for each parent, with its label, and a_j as the row's weight.

    Arguments:
        mixer: Draws partners and weights of whole rows; `Mixup(alpha=0.2)` is the usual choice for tables.
        copies: How many mixtures of each row to add.
        keep: Whether the rows themselves are kept, in front.
        seed: Of all draws.

    References:
        Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, section 2.
    """

    mixer: Mixer = Mixup(alpha=0.2)  # noqa: RUF009, a frozen value
    copies: int = 1
    keep: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"copies={self.copies}: at least 1")

    def fit_resample(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return (N', F) rows and (N', ...) labels, N' = copies N, and N more if rows are kept.

        Arguments:
            x: Numbers, shape (N, F).
            y: Shape (N, ...). Floating point is mixed; anything else, (N,), is a class.

        Raises:
            ValueError: A table that is not of finite numbers, labels of another length, fewer rows than
                parents, or a mixer that weighs columns of a row differently or by negative numbers.
        """
        x, y = _table(x, y)
        rows, labels = ([x], [y]) if self.keep else ([], [])
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.copies):
            mix = self._draw(x, generator)
            rows.append(_mixed(mix, x))
            if np.issubdtype(y.dtype, np.floating):
                labels.append(_mixed(mix, y))
            else:
                parent = torch.multinomial(mix.weights.T, 1, generator=generator).T
                labels.append(y[mix.partners.gather(0, parent)[0].numpy()])
        return np.concatenate(rows), np.concatenate(labels)

    def resample_weighted(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, labels and `sample_weight`, (N', F), (N', ...) and (N',); arguments as above.

        Every mixture comes K times, once for each parent. The weights of its rows sum to one.
        """
        x, y = _table(x, y)
        rows, labels, weights = ([x], [y], [np.ones(len(x))]) if self.keep else ([], [], [])
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.copies):
            mix = self._draw(x, generator)
            rows += [_mixed(mix, x)] * len(mix.weights)
            labels += [y[partners.numpy()] for partners in mix.partners]
            weights += list(mix.weights.double().numpy())
        return np.concatenate(rows), np.concatenate(labels), np.concatenate(weights)

    def _draw(self, x: np.ndarray, generator: torch.Generator) -> Mix:
        mix = self.mixer(torch.from_numpy(x), generator)
        if mix.weights.ndim > 2 or (mix.weights < 0).any():
            raise ValueError(
                f"{self.mixer!r} weighs the columns of a row differently, or by negative numbers; the label "
                "of such a row is not a mixture of labels: take a mixer that draws one weight, such as Mixup"
            )
        return mix


def _table(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or not np.issubdtype(x.dtype, np.number) or not np.isfinite(x).all():
        raise ValueError(
            f"rows must be a table of finite numbers, (N, F), got {x.dtype} {x.shape}; encode categories"
        )
    if len(y) != len(x):
        raise ValueError(f"{len(y)} labels for {len(x)} rows")
    if not np.issubdtype(y.dtype, np.floating) and y.ndim != 1:
        raise ValueError(
            f"classes must have shape (N,), got {y.shape}; give several labels as floating point"
        )
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(float), y


def _mixed(mix: Mix, values: np.ndarray) -> np.ndarray:
    return mix(torch.from_numpy(np.ascontiguousarray(values))).numpy()
