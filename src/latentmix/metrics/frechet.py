"""Realism of sets: are decoded mixes, taken together, distributed as real images are?

Plain functions take features of images, shape (samples, features), from any network; real ones come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Count, Score, decode, device_of, encode, folder_of, metric
from latentmix.metrics.features.classifier import Features, classifier
from latentmix.metrics.features.given import network
from latentmix.metrics.walks.mixes import Mixing, mix, mixer_of
from latentmix.metrics.walks.variety import IMAGES, distances, measure

Array = NDArray[np.float64]


@metric
def evaluate(
    method: Autoencodes,
    data: Data,
    *,
    seed: int = 0,
    features: str = "classifier",
    mixing: Mixing = "own",
    n: Count = 10_000,
    draws: Annotated[int, Field(ge=2)] = 3,
) -> Score:
    """How close the decoded mixes of test images, as a set, are to real training images.

    Each draw of mixes is judged by a feature network with its own seed. So the interval covers the choice of
    the network, which matters more than the draw. All runs on the same data are judged by the same networks,
    and the difference between two runs is therefore more certain than the interval of either. Distances can
    be compared only between runs whose features have the same fingerprints. For scale, the same distances are
    given for reconstructions and for test images.

    Arguments:
        features: "classifier", a small one that is trained on the same data; "inception", Inception v3; or a
            network of the user's: NET.onnx, a folder in transformers' format, or module:function.
        mixing: The mixing function: the method's own (mixup where it has none), "mixup" or "bernoulli".
        n: How many images of each side, at most.
        draws: Independent draws of mixes for the 95 % interval, 2 or more; draw i is judged by the classifier
            trained with `seed + i`, or by the other network.

    Returns:
        Means over the draws: `frechet`, `kernel`, `precision`, `recall`, `density`, `coverage`, `class_score`
        of mixes, all NaN if the model is collapsed; `frechet_low`, `frechet_high`; `frechet_reconstruction`,
        `kernel_reconstruction`; `frechet_real`, `kernel_real`, `class_score_real`; and the variety, see
        `walks.variety`. A network of the user's tells no classes, so that the class score is left out.

    Raises:
        ValueError: Too few images (2 for each feature, which Inception has 2,048 of), data without labels for
            the classifier, no such network at hand, or draws out of range.
    """
    if draws < 2:
        raise ValueError(f"draws={draws}: an interval needs 2 or more")
    own = network(features, device_of(method), data.shape[1])
    g = torch.Generator().manual_seed(seed)
    train = torch.randperm(len(data.train), generator=g)[:n]
    test = torch.randperm(len(data.test), generator=g)[:n]
    codes = encode(method, data.test, test)
    rebuilt = decode(method, codes)
    mixer = mixer_of(method, mixing)
    found: list[dict[str, float]] = []
    nets: list[Features] = []
    for draw in range(draws):
        mixes = mix(method, codes, mixer, g)
        if not nets or own is None:
            net = own or classifier(data, seed + draw, folder=folder_of(method))
            nets.append(net)
            real, _ = net.describe_split(data.train, train)
            held_out, p_real = net.describe_split(data.test, test)
            others = {"reconstruction": net.describe(rebuilt)[0], "real": held_out}
            fixed = {f"frechet_{name}": frechet(real, other) for name, other in others.items()}
            fixed |= {f"kernel_{name}": kernel(real, other, seed=seed) for name, other in others.items()}
            fixed["class_score_real"] = class_score(p_real)
        fake, p_fake = net.describe(mixes)
        values = {"frechet": frechet(real, fake), "kernel": kernel(real, fake, seed=seed)}
        found.append(values | precision_recall(real, fake) | {"class_score": class_score(p_fake)} | fixed)
    some = test[:IMAGES].to(data.test.images.device)
    variety = measure(data.test.pixels(some).cpu(), rebuilt[:IMAGES], mixes)
    if not nets[0].classes:
        found = [{k: v for k, v in values.items() if not k.startswith("class_score")} for values in found]
    scores = {name: float(np.mean([v[name] for v in found])) for name in found[0]}
    low, high = interval([v["frechet"] for v in found])
    scores |= {"frechet_low": low, "frechet_high": high}
    protocol = nets[0].protocol | {
        "fingerprints": [net.fingerprint for net in nets],
        "frechet_by_draw": [v["frechet"] for v in found],
        "mixer": str(mixer),
        "n_real": len(train),
        "n_mixes": len(codes),
        "draws": draws,
        "seed": seed,
        "interval": "95 %, t, over draws of mixes" + (" and feature networks" if own is None else ""),
    }
    protocol |= {"real": "training images", "parents": "test images", "k": [3, 5]}
    return Score(variety.gate(scores, fixed), protocol | variety.protocol)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of independent values: mean -+ t s / sqrt(n).

    Arguments:
        values: Two or more; s is their deviation with n - 1, t the quantile of Student's t for 97.5 %.
    """
    from scipy.stats import t as student

    half = float(student.ppf(0.975, len(values) - 1)) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def frechet(real: ArrayLike | Tensor, fake: ArrayLike | Tensor) -> float:
    """Compute the Frechet distance of two sets: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    m and S are the mean and the covariance of each set's features, in double precision. It is 0 for equal
    Gaussians and has the unit of squared features.

    Arguments:
        real, fake: Features, shapes (N, D) and (M, D).

    Raises:
        ValueError: Fewer than 2 D samples on a side, where the estimate is mostly bias; values not finite.

    References:
        Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017.
    """
    a, b = _pair(real, fake)
    return frechet_gaussian(*gaussian(a), *gaussian(b))


def gaussian(features: ArrayLike | Tensor) -> tuple[Array, Array]:
    """Compute the mean (D,) and the covariance (D, D) of features (N, D), in double precision.

    Raises:
        ValueError: Fewer than 2 D samples, where the Frechet distance is mostly bias; values not finite.
    """
    x, _ = _pair(features, features)
    if len(x) < 2 * x.shape[1]:
        raise ValueError(
            f"{len(x)} samples are too few for the Frechet distance of {x.shape[1]} features; "
            f"give {2 * x.shape[1]} or more on each side, or take the kernel distance, which has no bias"
        )
    return x.mean(0), np.atleast_2d(np.cov(x.T))


def frechet_gaussian(m1: Array, s1: Array, m2: Array, s2: Array) -> float:
    """Compute the Frechet distance of N(m1, s1) and N(m2, s2): means (D,), covariances (D, D)."""
    s1, s2 = np.atleast_2d(s1), np.atleast_2d(s2)
    # tr (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2).
    values, vectors = np.linalg.eigh(s1)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ s2 @ root).clip(0)
    distance = ((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(mixed).sum()
    return max(0.0, float(distance))  # rounding can carry the distance of equal sets below 0


def kernel(
    real: ArrayLike | Tensor,
    fake: ArrayLike | Tensor,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> float:
    """Compute the kernel distance: the mean over random subsets of the squared MMD.

    The maximum mean discrepancy has the kernel (x . y / D + 1)^3 and its unbiased estimator, so the distance
    can be negative. It is not multiplied by 1000.

    Arguments:
        real, fake: Features, shapes (N, D) and (M, D).
        subsets: Number of random subsets.
        subset_size: Samples of each side in a subset; all samples of the smaller side if there are fewer.
        seed: Seed of the subsets.

    Raises:
        ValueError: Fewer than 10 samples on a side; values not finite.

    References:
        Binkowski et al., "Demystifying MMD GANs", ICLR 2018.
    """
    a, b = _pair(real, fake)
    size = min(subset_size, len(a), len(b))
    if size < 10:
        raise ValueError(f"{size} samples are too few for the kernel distance; give 10 or more on each side")
    rng = np.random.default_rng(seed)

    def cubic(u: Array, v: Array) -> Array:
        product = u @ v.T / a.shape[1] + 1
        return product * product * product  # a tenth of the time of **

    def discrepancy(x: Array, y: Array) -> float:
        xx, yy, xy = cubic(x, x), cubic(y, y), cubic(x, y)
        within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        return float(within - 2 * xy.mean())

    chosen = ((rng.permutation(len(a))[:size], rng.permutation(len(b))[:size]) for _ in range(subsets))
    return float(np.mean([discrepancy(a[i], b[j]) for i, j in chosen]))


def precision_recall(
    real: ArrayLike | Tensor, fake: ArrayLike | Tensor, *, k: int = 3, k_density: int = 5
) -> dict[str, float]:
    """Compute precision, recall, density and coverage of fake samples, from the balls around all samples.

    The ball of a sample reaches to its k-th neighbour in its own set, and the support of a set is the union
    of its balls. Precision is the share of fakes in the support of the real samples; recall is the share of
    real samples in the support of the fakes; density is the mean number of real balls that a fake lies in,
    over k; coverage is the share of real samples with a fake in their ball. All are in 0..1, except density,
    which is about 1 for real samples and has no upper bound.

    Arguments:
        real, fake: Features, shapes (N, D) and (M, D).
        k: Neighbours for precision and recall.
        k_density: Neighbours for density and coverage.

    Returns:
        `precision`, `recall`, `density` and `coverage`.

    Raises:
        ValueError: There are not more samples than neighbours, or values are not finite.

    References:
        Kynkaanniemi et al., NeurIPS 2019; Naeem et al., "Reliable fidelity and diversity metrics", ICML 2020.
    """
    a, b = _pair(real, fake)
    if min(len(a), len(b)) <= max(k, k_density):
        raise ValueError(f"{min(len(a), len(b))} samples are too few for {max(k, k_density)} neighbours")
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    (real_near, real_far), fake_near = radii(x, (k, k_density)), radii(y, (k,))[0]
    precise = density = 0.0
    recalled = torch.zeros(len(x), dtype=torch.bool)
    covered = torch.zeros(len(x), dtype=torch.bool)
    for part, near in zip(y.split(1000), fake_near.split(1000)):
        distance = distances(part, x)
        precise += float((distance <= real_near).any(1).sum())
        density += float((distance <= real_far).sum()) / k_density
        recalled |= (distance <= near[:, None]).any(0)
        covered |= (distance <= real_far).any(0)
    return {
        "precision": precise / len(y),
        "recall": float(recalled.double().mean()),
        "density": density / len(y),
        "coverage": float(covered.double().mean()),
    }


def radii(x: Tensor, ks: Sequence[int]) -> list[Tensor]:
    """Compute the distance of each sample, shape (N, D), to its k-th neighbour: (N,) for each k, exact."""
    found = [distances(part, x).topk(max(ks) + 1, dim=1, largest=False).values for part in x.split(1000)]
    return [torch.cat(found)[:, k] for k in ks]


def class_score(p: Tensor) -> float:
    """Compute the inception score by any classifier: exp E KL(p(y|x) || p(y)), 1 to the number of classes.

    Arguments:
        p: Class probabilities, shape (N, classes).

    Raises:
        ValueError: Rows are not probabilities; for example, they are logits.

    References:
        Salimans et al., "Improved techniques for training GANs", NeurIPS 2016.
    """
    p = p.double()
    if p.ndim != 2 or not len(p) or not bool(((p >= 0).all(1) & ((p.sum(1) - 1).abs() < 1e-3)).all()):
        raise ValueError(
            "the class score takes probabilities, shape (N, classes): not negative, and each row sums "
            "to 1; take the softmax of logits first"
        )
    p = p.clamp_min(1e-12)
    return float((p * (p.log() - p.mean(0).log())).sum(1).mean().exp())


def _pair(real: Any, fake: Any) -> tuple[Array, Array]:
    a, b = (
        np.ascontiguousarray(x.detach().cpu().double() if isinstance(x, Tensor) else x, np.float64)
        for x in (real, fake)
    )
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features need shapes (N, D) and (M, D), got {a.shape} and {b.shape}")
    for name, x in (("real", a), ("fake", b)):
        if not np.isfinite(x).all():
            raise ValueError(f"{name} features contain NaN or infinite values")
    return a, b
