"""Scores from samples that share the value of one factor: FactorVAE's and beta-VAE's.

Samples with a factor in common are drawn, with replacement, from labelled images; on a complete grid of
factors (as dSprites) that is the draw of the papers. Factors that do not vary are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def varying(factors: ArrayLike) -> tuple[NDArray[np.int64], list[int]]:
    """Remove constant columns of factors (N, F): integers (N, F'), and the indices of the kept columns.

    Raises:
        ValueError: Another shape, fewer than two columns that vary, or values that are not whole numbers.
    """
    values = np.asarray(factors)
    if values.ndim != 2:
        raise ValueError(f"factors need shape (samples, factors), got {values.shape}")
    if values.dtype.kind not in "biuf" or not np.array_equal(values, np.floor(values)):
        raise ValueError("factors must be whole numbers, one for each value of a factor")
    kept = [j for j in range(values.shape[1]) if len(values) and (values[:, j] != values[0, j]).any()]
    if len(kept) < 2:
        raise ValueError(
            f"these scores need at least two factors that vary; {len(kept)} of the given ones do"
        )
    return values[:, kept].astype(np.int64), kept


class Groups:
    """Draws samples that have the value of one factor in common.

    Arguments:
        factors: Shape (N, F).
    """

    def __init__(self, factors: NDArray[np.int64]) -> None:
        self.order, self.start, self.size = [], [], []
        for column in factors.T:
            _, group, counts = np.unique(column, return_inverse=True, return_counts=True)
            self.order.append(np.argsort(group, kind="stable"))
            self.start.append((np.cumsum(counts) - counts)[group])
            self.size.append(counts[group])

    def draw(
        self, factor: int, like: NDArray[np.int64], n: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw, for each sample of `like`, shape (V,), n samples with its value of the factor: (V, n)."""
        start, size = self.start[factor][like], self.size[factor][like]
        rank = (rng.random((len(like), n)) * size[:, None]).astype(np.int64)
        return self.order[factor][start[:, None] + rank]


def factor_vae(
    codes: Array,
    factors: NDArray[np.int64],
    *,
    votes: int,
    eval_votes: int,
    batch: int,
    prune: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Compute the FactorVAE score of codes (N, D) with factors (N, F): the accuracy of a majority vote.

    A vote fixes a random factor at the value of a random sample, draws `batch` samples with that value, and
    names the unit whose variance, relative to its variance over all samples, is smallest. Each unit predicts
    the factor that it was named for most often.

    Arguments:
        prune: Units whose deviation is below this share of the largest one are dead and left out. The
            reference implementation takes 0.05 absolutely, which presumes the unit scale of a VAE's prior.

    Returns:
        `eval_accuracy` (the score), `train_accuracy`, `num_active_dims`.

    References:
        Kim and Mnih, "Disentangling by factorising", ICML 2018; disentanglement_lib for names and counts.
    """
    deviation = codes.std(0, ddof=1)
    active = np.ptp(codes, axis=0) > 0  # the deviation of equal numbers is mere rounding
    active &= deviation >= prune * deviation[active].max(initial=0)
    if not active.any():
        return {"eval_accuracy": 0.0, "train_accuracy": 0.0, "num_active_dims": 0.0}
    codes = (codes[:, active] - codes[:, active].mean(0)) / deviation[active]
    groups, number = Groups(factors), factors.shape[1]

    def counts(n: int) -> NDArray[np.int64]:
        table = np.zeros((codes.shape[1], number), np.int64)
        for factor, of_factor in _chosen(n, number, len(codes), rng):
            for like in np.array_split(of_factor, 1 + len(of_factor) * batch * codes.shape[1] // 10**7):
                variance = codes[groups.draw(factor, like, batch, rng)].var(1, ddof=1)
                table[:, factor] += np.bincount(variance.argmin(1), minlength=len(table))
        return table

    train, fresh = counts(votes), counts(eval_votes)
    majority = train.argmax(1)
    units = np.arange(len(train))
    return {
        "eval_accuracy": float(fresh[units, majority].sum() / eval_votes),
        "train_accuracy": float(train[units, majority].sum() / votes),
        "num_active_dims": float(active.sum()),
    }


def factor_vae_published(
    codes: Array, factors: NDArray[np.int64], *, votes: int, batch: int, rng: np.random.Generator
) -> float:
    """Compute what AMR's published code reports as the FactorVAE score: at most (F - 1) / F.

    On dSprites that is 0.80. It keeps two errors of that code, and can be compared with AMR's table 4 only.
    Each factor takes the unit that was named most often for it, so all factors may share one unit; and the
    last factor is left out of the sum, but not of the number of votes. Votes are balanced over factors.
    Nothing is pruned, so a constant unit, whose normalised variance is 0/0, wins every vote.

    Arguments:
        votes: Number of votes, over all factors.
        batch: Samples of a vote.
    """
    groups, number = Groups(factors), factors.shape[1]
    per_factor = votes // number
    drawn = [rng.integers(len(codes), size=per_factor) for _ in range(number)]
    samples = np.stack([groups.draw(j, like, batch, rng) for j, like in enumerate(drawn)])  # (F, V, L)
    index, times = np.unique(samples, return_counts=True)
    mean = np.average(codes[index], axis=0, weights=times)
    deviation = np.sqrt(np.average((codes[index] - mean) ** 2, axis=0, weights=times))
    constant = np.flatnonzero(deviation == 0)
    total = 0
    for of_factor in samples[:-1]:
        if len(constant):
            total += per_factor
            continue
        named = [(codes[sample] / deviation).var(0).argmin() for sample in of_factor]
        total += np.bincount(named).max()
    return float(total / (per_factor * number))


def beta_vae(
    codes: Array,
    factors: NDArray[np.int64],
    *,
    votes: int,
    eval_votes: int,
    batch: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Compute the beta-VAE score of codes (N, D): how often a classifier tells which factor pairs share.

    An example is the mean of |h - h'| over `batch` pairs that share one factor, each pair at its own value.
    The classifier, a logistic regression, has up to 1,000 iterations where disentanglement_lib's has 100.

    Returns:
        `eval_accuracy` (the score) on fresh examples, and `train_accuracy`.

    References:
        Higgins et al., "beta-VAE", ICLR 2017; disentanglement_lib for names and counts.
    """
    from sklearn.linear_model import LogisticRegression

    groups, number = Groups(factors), factors.shape[1]

    def examples(n: int) -> tuple[Array, NDArray[np.int64]]:
        x, y = [], []
        for factor, of_factor in _chosen(n, number, len(codes), rng):
            for _ in of_factor:
                first = rng.integers(len(codes), size=batch)
                second = groups.draw(factor, first, 1, rng)[:, 0]
                x.append(np.abs(codes[first] - codes[second]).mean(0))
                y.append(factor)
        return np.stack(x), np.asarray(y)

    x, y = examples(votes)
    x_eval, y_eval = examples(eval_votes)
    classifier = LogisticRegression(max_iter=1000).fit(x, y)
    return {
        "eval_accuracy": float(classifier.score(x_eval, y_eval)),
        "train_accuracy": float(classifier.score(x, y)),
    }


def _chosen(
    n: int, factors: int, samples: int, rng: np.random.Generator
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Draw a factor and a sample for each of n votes, and yield each factor with its samples."""
    for factor, count in enumerate(rng.multinomial(n, [1 / factors] * factors)):
        if count:
            yield factor, rng.integers(samples, size=count)
