"""Clusters: do codes fall into the classes by themselves?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Encodes
from latentmix.metrics import Count, Score, metric, require_finite
from latentmix.metrics.probe import labelled_codes


@metric
def evaluate(
    method: Encodes, data: Data, *, seed: int = 0, restarts: Count = 20, max_train: Count = 20_000
) -> Score:
    """How well the clusters that k-means finds in the codes, without labels, agree with the classes.

    Codes are whitened with the training codes' mean and covariance. k-means, with as many clusters as
    classes, is fitted on training codes and assigns the test codes. (ACAI's code restarts 1,000 times.)

    Arguments:
        restarts: Random starts; the fit with the smallest error on the training codes is kept.
        max_train: Training codes that are clustered, at most.

    Returns:
        `cluster_accuracy` under the best matching of clusters to classes, found on the training images and
        applied to the test images, so that it is held out; `cluster_accuracy_matched_on_test`, as ACAI's code
        has it; `nmi` and `ari` on test.

    Raises:
        ValueError: Data without labels or with one class; fewer training images than classes.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    (h, y), _, (h_test, y_test) = labelled_codes(method, data)
    index = torch.randperm(len(h), generator=torch.Generator().manual_seed(seed))[:max_train]
    h, y = h[index], y[index]
    present, number = torch.cat([y, y_test]).unique(return_inverse=True)  # labels may have gaps
    classes, (y, y_test) = len(present), number.split([len(y), len(y_test)])
    found, found_test = kmeans(h, h_test, classes, restarts=restarts, seed=seed)
    mapping = matching(found, y, classes)
    known = y_test.numpy()
    values = {
        "cluster_accuracy": float((mapping[found_test] == known).mean()),
        "cluster_accuracy_matched_on_test": float(
            (matching(found_test, known, classes)[found_test] == known).mean()
        ),
        "nmi": float(normalized_mutual_info_score(known, found_test)),
        "ari": float(adjusted_rand_score(known, found_test)),
    }
    protocol: dict[str, object] = {"clusters": classes, "restarts": restarts, "whitening": "full rank"}
    return Score(values, protocol | {"n_train": len(y), "n_test": len(y_test), "seed": seed})


def accuracy(
    codes: ArrayLike | Tensor, labels: ArrayLike | Tensor, *, restarts: int = 20, seed: int = 0
) -> float:
    """Compute clustering accuracy: k-means on whitened codes, whose clusters are matched to classes.

    One half of the samples, drawn by the seed, decides whitening, clusters and matching; the share of right
    classes, from 0 to 1, is that of the other half.

    Arguments:
        codes: Shape (N, D) or (N, ...).
        labels: Class of each, numbers or text, shape (N,).
        restarts: Random starts of k-means.

    Raises:
        ValueError: One class, fewer than 4 samples a class on average, or values that are not finite.
    """
    array = codes.detach().cpu().numpy() if isinstance(codes, Tensor) else np.asarray(codes)
    h = torch.from_numpy(np.ascontiguousarray(array, np.float32)).flatten(1)
    y = np.unique(labels.cpu() if isinstance(labels, Tensor) else labels, return_inverse=True)[1]
    classes = len(np.unique(y))
    if len(h) != len(y):
        raise ValueError(f"{len(h)} codes but {len(y)} labels")
    if classes < 2 or len(y) < 4 * classes:
        raise ValueError(f"{len(y)} samples of {classes} classes: need two classes and 4 samples for each")
    require_finite(h, "codes")
    order = np.random.default_rng(seed).permutation(len(y))
    half, rest = np.array_split(order, 2)
    found, found_rest = kmeans(h[half], h[rest], classes, restarts=restarts, seed=seed)
    return float((matching(found, y[half], classes)[found_rest] == y[rest]).mean())


def kmeans(
    train: Tensor, test: Tensor, clusters: int, *, restarts: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whiten codes by the training codes, cluster these by k-means, and assign both to the clusters.

    Arguments:
        train, test: Codes, shapes (N, D) and (M, D).
        clusters: Number of clusters.
        restarts: Random starts; the fit with the smallest error is kept.

    Returns:
        The cluster of each code, shapes (N,) and (M,).

    Raises:
        ValueError: Fewer codes than clusters, or codes that are all the same.
    """
    from sklearn.cluster import KMeans

    if len(train) < clusters:
        raise ValueError(f"{len(train)} codes cannot form {clusters} clusters")
    mean = train.mean(0)
    covariance = torch.cov((train - mean).double().T).reshape(train.shape[1], -1)
    values, vectors = torch.linalg.eigh(covariance)
    if values[-1] <= 1e-12 * mean.double().square().sum():
        raise ValueError("the codes are all the same, and form no clusters")
    kept = values > 1e-8 * values[-1]  # directions in which the codes do not vary hold only rounding
    whiten = (vectors[:, kept] / values[kept].sqrt()).float()
    model = KMeans(clusters, init="random", n_init=restarts, max_iter=1000, random_state=seed)
    found = model.fit_predict(((train - mean) @ whiten).numpy())
    return found.astype(np.int64), model.predict(((test - mean) @ whiten).numpy()).astype(np.int64)


def matching(clusters: ArrayLike, labels: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Return the class of each cluster in the one-to-one matching with most agreements (Hungarian method).

    Arguments:
        clusters, labels: Cluster and class of each sample, shapes (N,).
        classes: Number of classes, and of clusters.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (np.asarray(clusters), np.asarray(labels)), 1)
    return np.asarray(linear_sum_assignment(table, maximize=True)[1])
