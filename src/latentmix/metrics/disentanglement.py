"""Disentanglement: does each unit of the code follow one factor of the data?

Sample counts, discretisation and result names are disentanglement_lib's. Codes have shape (samples, units),
factors (samples, factors), whole numbers; factors that do not vary are left out. Where a score needs fresh
samples to test on, a third of the given ones is held out at random.

References:
    Locatello et al., "Challenging common assumptions in the unsupervised learning of disentangled
    representations", ICML 2019, and its code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latentmix.data import Data, Split
from latentmix.data.sources import sprites
from latentmix.methods.portions import rows_at_once
from latentmix.methods.roles import Encodes
from latentmix.metrics import Score, encode, metric, require_finite
from latentmix.metrics.factors import votes as _votes
from latentmix.metrics.factors.sap import sap_score
from latentmix.metrics.factors.votes import varying

Array = NDArray[np.float64]
Encode = Callable[[Tensor], Tensor]

POOL = 20_000  # images that votes draw their samples from
RARE = 20  # images with another value than the usual one, below which a factor cannot be judged
WIDE = 64  # units beyond which boosted trees take hours


class Counts(NamedTuple):
    """Numbers of votes and samples that the scores take; the defaults are disentanglement_lib's."""

    votes: int = 10_000
    eval_votes: int = 5_000
    samples: int = 15_000


FAST = Counts(1_000, 500, 3_000)


@metric
def evaluate(method: Encodes, data: Data, *, seed: int = 0, fast: bool = False) -> Score:
    """How well single units of the code follow single factors of the data, by seven scores from 0 to 1.

    Sprites are drawn from their complete grid of factors. Of other data, the training images are taken, with
    their factors or else their attributes. The scores are FactorVAE's and beta-VAE's, MIG, SAP, DCI,
    modularity and explicitness. `factor_vae_published` is what AMR's code computes, and can be compared with
    AMR's table 4 only.

    Arguments:
        fast: Whether to take fewer samples and votes, and random forests for DCI; names then end in `_fast`.

    Raises:
        ValueError: Data without factors, fewer than two that vary often enough, or a code of one unit.
    """
    counts = FAST if fast else Counts()
    images, names = labelled(data, seed)
    columns = _columns(images)
    kept = [
        j
        for j in varying(columns)[1]
        if len(columns) - columns[:, j].unique(return_counts=True)[1].max() >= RARE
    ]
    values, _ = varying(columns[:, kept])
    codes = encode(method, images).numpy()
    _require_units(codes)
    trees: Literal["boosting", "forest"] = "forest" if fast or codes.shape[1] > WIDE else "boosting"
    rng = np.random.default_rng(seed)
    some = slice(0, counts.samples)  # the pool is in random order
    scores: dict[str, float] = {}
    n, n_eval = counts.votes, counts.eval_votes
    right = _votes.factor_vae(codes, values, votes=n, eval_votes=n_eval, batch=64, prune=0.05, rng=rng)
    scores |= {f"factor_vae_{name}": value for name, value in right.items()}
    scores["factor_vae_published"] = _votes.factor_vae_published(codes, values, votes=800, batch=800, rng=rng)
    pairs = _votes.beta_vae(codes, values, votes=n, eval_votes=n_eval, batch=64, rng=rng)
    scores |= {f"beta_vae_{name}": value for name, value in pairs.items()}
    scores |= mig(codes[some][:10_000], values[some][:10_000])
    scores |= sap(codes[some], values[some], seed=seed)
    scores |= dci(codes[some], values[some], trees=trees, seed=seed)
    scores |= modularity(codes[some], values[some], seed=seed)
    if fast:
        scores = {f"{name}_fast": value for name, value in scores.items()}
    used = min(counts.samples, len(codes))
    protocol: dict[str, object] = {
        "factors": [names[j] for j in kept],
        "units": codes.shape[1],
    }
    protocol |= {"left_out": [n for j, n in enumerate(names) if j not in kept]}
    protocol |= {"pool": len(codes), "votes": counts.votes, "eval_votes": counts.eval_votes, "batch": 64}
    protocol |= {"published_votes": 800, "published_batch": 800, "prune": "5 % of the largest deviation"}
    protocol |= {"n_train": used * 2 // 3, "n_test": used - used * 2 // 3, "bins": 20, "dci_trees": trees}
    protocol |= {"explicitness": "standardised codes, at most 1,000 iterations"}
    protocol |= {"beta_vae": "codes as they are, at most 1,000 iterations"}
    return Score(scores, protocol | {"fast": fast, "seed": seed})


def factor_vae(
    encode: Encode,
    data: Data | Split,
    *,
    seed: int = 0,
    votes: int = 10_000,
    eval_votes: int = 5_000,
    batch: int = 64,
    prune: float = 0.05,
) -> dict[str, float]:
    """Compute the FactorVAE score as Kim and Mnih define it, from a function that encodes images.

    Arguments:
        encode: Images (B, C, H, W) in [-1, 1] to codes (B, ...).
        data: Sprites, or images with attribute columns as factors; see `labelled`.
        votes, eval_votes: Votes to learn from, and fresh ones to score on.
        batch: Samples of a vote.
        prune: Units whose deviation is below this share of the largest are left out.

    Returns:
        `eval_accuracy` (the score), `train_accuracy` and `num_active_dims`; see `votes.factor_vae`.

    Raises:
        ValueError: No factors, fewer than two that vary, or codes that are not finite.
    """
    codes, factors, rng = _encoded(encode, data, seed)
    return _votes.factor_vae(
        codes, factors, votes=votes, eval_votes=eval_votes, batch=batch, prune=prune, rng=rng
    )


def factor_vae_published(
    encode: Encode, data: Data | Split, *, seed: int = 0, votes: int = 800, batch: int = 800
) -> float:
    """Compute the FactorVAE score as AMR's published code does, at most (F - 1) / F; see `factors.votes`."""
    codes, factors, rng = _encoded(encode, data, seed)
    return _votes.factor_vae_published(codes, factors, votes=votes, batch=batch, rng=rng)


def beta_vae(
    encode: Encode,
    data: Data | Split,
    *,
    seed: int = 0,
    votes: int = 10_000,
    eval_votes: int = 5_000,
    batch: int = 64,
) -> dict[str, float]:
    """Compute the beta-VAE score, `eval_accuracy` and `train_accuracy`; arguments as for `factor_vae`."""
    codes, factors, rng = _encoded(encode, data, seed)
    return _votes.beta_vae(codes, factors, votes=votes, eval_votes=eval_votes, batch=batch, rng=rng)


def mig(codes: ArrayLike, factors: ArrayLike) -> dict[str, float]:
    """Compute the mutual information gap, the mean over factors v of (I(h_best; v) - I(h_second; v)) / H(v).

    The best two units for each factor are those with most mutual information. Units are cut into 20 bins of
    equal width.

    Arguments:
        codes: Shape (N, D), N of 30 or more, D of 2 or more.
        factors: Whole numbers, shape (N, F); two or more columns vary.

    Returns:
        `discrete_mig`, from 0 to 1.

    Raises:
        ValueError: Other shapes, too few samples, factors or units, or values that are not finite.

    References:
        Chen et al., "Isolating sources of disentanglement in VAEs", NeurIPS 2018.
    """
    h, y = _checked(codes, factors)
    information = _mutual_information(_bins(h), y)
    entropy = np.diag(_mutual_information(y, y))
    second, best = np.sort(information, axis=0)[-2:]
    return {"discrete_mig": float(((best - second) / entropy).mean())}


def sap(codes: ArrayLike, factors: ArrayLike, *, seed: int = 0) -> dict[str, float]:
    """Compute separated attribute predictability, `SAP_score`; see `factors.sap`.

    Arguments and errors are those of `mig`; `seed` chooses the third of the samples that is tested on.
    """
    return {"SAP_score": sap_score(*_halves(codes, factors, seed))}


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    trees: Literal["boosting", "forest"] = "boosting",
    seed: int = 0,
) -> dict[str, float]:
    """Compute disentanglement, completeness and informativeness (DCI) from importances of units for factors.

    With R the importances (units x factors) of trees that predict each factor: disentanglement is one minus
    the entropy (base F) of a unit's importances, weighted by the unit's total; completeness the same of a
    factor's (base D); informativeness the mean accuracy of the predictions.

    Arguments:
        codes, factors: As for `mig`.
        trees: "boosting", scikit-learn's gradient boosting as in disentanglement_lib, or "forest", a random
            forest, for wide codes.
        seed: Seed of the trees, and of the third of the samples that is tested on.

    Returns:
        `disentanglement`, `completeness`, `informativeness_train`, `informativeness_test`.

    References:
        Eastwood and Williams, "A framework for the quantitative evaluation of disentangled representations",
        ICLR 2018.
    """
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    h, y, h_test, y_test = _halves(codes, factors, seed)
    importance = np.zeros((h.shape[1], y.shape[1]))
    train, test = [], []
    for j in range(y.shape[1]):
        kind = GradientBoostingClassifier if trees == "boosting" else RandomForestClassifier
        classifier = kind(random_state=seed).fit(h, y[:, j])
        importance[:, j] = np.abs(classifier.feature_importances_)
        train.append(classifier.score(h, y[:, j]))
        test.append(classifier.score(h_test, y_test[:, j]))
    return {
        "disentanglement": _concentration(importance),
        "completeness": _concentration(importance.T),
        "informativeness_train": float(np.mean(train)),
        "informativeness_test": float(np.mean(test)),
    }


def modularity(codes: ArrayLike, factors: ArrayLike, *, seed: int = 0) -> dict[str, float]:
    """Compute modularity (a unit knows one factor only) and explicitness (a linear map can read the factors).

    With I the mutual information of a unit and a factor, the modularity of a unit is 1 - sum of I^2 over the
    factors but the best / ((F - 1) max I^2), and 0 for a unit that knows nothing. Explicitness is the area
    under the ROC curve of a logistic regression, averaged over classes and factors. The regression sees
    standardised codes and has up to 1,000 iterations, so that it converges; disentanglement_lib gives it the
    codes as they are and 100 iterations.

    Arguments:
        codes, factors: As for `mig`.
        seed: Chooses the third of the samples that is tested on.

    Returns:
        `modularity_score` from 0 to 1; `explicitness_score_train` and `explicitness_score_test`, where chance
        is 0.5, NaN if a factor has only one value among the samples.

    References:
        Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss", NeurIPS 2018.
    """
    h, y, h_test, y_test = _halves(codes, factors, seed)
    squared = _mutual_information(_bins(h), y) ** 2
    best = squared.max(1)
    others = (squared.sum(1) - best) / np.where(best > 0, best, 1) / (y.shape[1] - 1)
    explicit = np.array([_explicitness(h, y[:, j], h_test, y_test[:, j]) for j in range(y.shape[1])])
    return {
        "modularity_score": float(np.where(best > 0, 1 - others, 0).mean()),
        "explicitness_score_train": float(explicit[:, 0].mean()),
        "explicitness_score_test": float(explicit[:, 1].mean()),
    }


def _explicitness(
    h: Array, y: NDArray[np.int64], h_test: Array, y_test: NDArray[np.int64]
) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    mean, deviation = h.mean(0), h.std(0)
    deviation[np.ptp(h, axis=0) == 0] = 1  # the deviation of equal numbers is mere rounding
    h, h_test = (h - mean) / deviation, (h_test - mean) / deviation
    classifier = LogisticRegression(max_iter=1000).fit(h, y)

    def area(x: Array, true: NDArray[np.int64]) -> float:
        p = classifier.predict_proba(x)
        both = [i for i, c in enumerate(classifier.classes_) if 0 < (true == c).sum() < len(true)]
        areas = [roc_auc_score(true == classifier.classes_[i], p[:, i]) for i in both]
        return float(np.mean(areas)) if areas else math.nan

    return area(h, y), area(h_test, y_test)


def _concentration(importance: Array) -> float:
    """Average 1 - entropy / log(columns) over the rows of importances, each row weighted by its sum."""
    p = importance + 1e-11
    p = p / p.sum(1, keepdims=True)
    concentration = 1 + (p * np.log(p)).sum(1) / np.log(p.shape[1])
    total = importance.sum(1)
    return float((concentration * total).sum() / total.sum()) if total.any() else 0.0


def _bins(h: Array) -> NDArray[np.int64]:
    """Cut each unit into 20 bins of equal width between its extremes."""
    low, high = h.min(0), h.max(0)
    width = np.where(high > low, (high - low) / 20, 1)
    return np.minimum(((h - low) / width).astype(np.int64), 19)


def _mutual_information(a: NDArray[np.int64], b: NDArray[np.int64]) -> Array:
    """Compute I(a_i; b_j) in nats for all columns i of a, shape (N, A), and j of b, shape (N, B): (A, B)."""
    b_codes = [np.unique(column, return_inverse=True)[1] for column in b.T]
    result = np.zeros((a.shape[1], b.shape[1]))
    for i, column in enumerate(a.T):
        x = np.unique(column, return_inverse=True)[1]
        for j, z in enumerate(b_codes):
            joint = np.bincount(x * (z.max() + 1) + z, minlength=(x.max() + 1) * (z.max() + 1))
            p = joint.reshape(x.max() + 1, -1) / len(x)
            independent = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
            seen = p > 0
            result[i, j] = (p[seen] * np.log(p[seen] / independent[seen])).sum()
    return np.maximum(result, 0)


def _halves(
    codes: ArrayLike, factors: ArrayLike, seed: int
) -> tuple[Array, NDArray[np.int64], Array, NDArray[np.int64]]:
    """Return two thirds of the samples to train on, and one third to test on, at random.

    Raises:
        ValueError: A factor does not vary among those to train on.
    """
    h, y = _checked(codes, factors)
    order = np.random.default_rng(seed).permutation(len(h))
    train, test = np.split(order, [len(h) * 2 // 3])
    if (constant := np.flatnonzero(np.ptp(y[train], axis=0) == 0)).size:
        raise ValueError(
            f"varying factor {constant[0]} has one value in all {len(train)} samples that scores are fitted "
            "to; leave it out, or give more samples with other values of it"
        )
    return h[train], y[train], h[test], y[test]


def _checked(codes: ArrayLike, factors: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    h = np.asarray(codes, np.float64)
    h = h.reshape(len(h), -1)
    y, _ = varying(factors)
    if len(h) != len(y):
        raise ValueError(f"{len(h)} codes but {len(y)} rows of factors")
    if len(h) < 30:
        raise ValueError(f"{len(h)} samples are too few to judge factors; give 30 or more, better 15,000")
    _require_units(h)
    return h, y


def _require_units(h: Array) -> None:
    if h.shape[1] < 2:
        raise ValueError("these scores compare units of a code; this code has one")
    require_finite(torch.from_numpy(np.ascontiguousarray(h)), "codes")


def labelled(data: Data | Split, seed: int = 0) -> tuple[Split, tuple[str, ...]]:
    """Return up to 20,000 images in random order, and the names of their factors.

    Attributes stand in for factors in data without factors. Sprites are drawn from their complete grid; other
    images are those of the split, or the training images of `Data`.

    Raises:
        ValueError: Data without factors.
    """
    if isinstance(data, Data) and data.source == "sprites":
        number = np.random.default_rng(seed).integers(sprites.COUNT, size=POOL)
        images = torch.from_numpy(sprites.shrink(sprites.render(number), data.shape[1])[:, None])
        known = torch.from_numpy(sprites.factors(number))
        return Split(images.to(data.train.images.device), factors=known), sprites.FACTORS
    split = data.train if isinstance(data, Data) else data
    columns = _columns(split)
    index = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:POOL]
    names = tuple(map(str, range(columns.shape[1])))
    if isinstance(data, Data):
        names = data.attribute_names if split.factors is None else data.factor_names
    return split.take(index.to(split.images.device)), names


def _columns(split: Split) -> Tensor:
    columns = split.attributes if split.factors is None else split.factors
    if columns is None:
        raise ValueError("this metric needs data with factors: sprites, or attribute columns as CelebA has")
    return columns.cpu()


@torch.no_grad()
def _encoded(
    encode: Encode, data: Data | Split, seed: int
) -> tuple[Array, NDArray[np.int64], np.random.Generator]:
    images, _ = labelled(data, seed)
    factors, _ = varying(_columns(images))
    count = rows_at_once(encode, images.pixels(slice(0, 1)))
    parts = torch.arange(len(images), device=images.images.device).split(count)
    codes = torch.cat([encode(images.pixels(part)).flatten(1).float().cpu() for part in parts])
    require_finite(codes, "codes")
    return codes.numpy(), factors, np.random.default_rng(seed)
