"""The honesty meter: is a mix a realistic image, a double exposure, a copy of a parent, or a memorised image?

One row for each mix. With parents x_j, their shares a_j, the pixel blend b = sum_j a_j x_j, and s = min_j
|b - x_j| the distance from the blend to the nearest parent (root mean square over pixels):

    ghosting = max(0, 1 - |m - b| / s)          1: the mix is the blend, a double exposure
    collapse = max(0, 1 - min_j |m - x_j| / s)  1: the mix is one of its parents

A mix that is an image of its own has little of both. The parents of decoded mixes are decoded too, so that
blur by the decoder changes neither number. Both are undefined where the parents are decoded to nearly the
same image. All scores are undefined for a model that decodes or mixes to nearly one image (`walks.variety`).
"""

from __future__ import annotations

import itertools
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from latentmix.data import UNLABELLED, Data
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Count, Score, decode, device_of, encode, folder_of, metric
from latentmix.metrics.features.classifier import Features, classifier
from latentmix.metrics.frechet import radii
from latentmix.metrics.walks.mixes import Path, walk
from latentmix.metrics.walks.variety import IMAGES, distances, measure, typical_distance
from latentmix.mixing import lerp

K = 5  # neighbours of the density
NEAR = 0.1  # share of the usual distance below which two parents count as one image


@metric
def evaluate(
    method: Autoencodes,
    data: Data,
    *,
    seed: int = 0,
    path: Path = "lerp",
    t: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    n: Count = 1000,
    n_real: Count = 5000,
) -> Score:
    """How realistic mixes are, and how often they are double exposures, copies or memorised images.

    Pairs of test images of different classes are mixed at one point between them. The values are means over
    mixes, which `Judge.rows` gives one by one; for comparison, blends of the same images, pixel by pixel, are
    judged too.

    Arguments:
        path: The walk between two codes: straight line, great circle, or nested random masks.
        t: How far along it, between 0 and 1; mixes are hardest to make at 0.5.
        n: Pairs.
        n_real: Training images that realism is measured against.

    Returns:
        Means of `density` (1 for real images), `realistic` (the share with density above 0), `ghosting`,
        `collapse`, `confidence` (largest class probability), `parent_classes` (probability of the parents'
        classes), `memory` (distance to the nearest training image over that of test images; values well
        below 1 suggest memorisation), `critic` (probability of real, where the method has an adversary of
        images), all NaN if the model is collapsed; the same with `_pixels` for the blends; `density_real` and
        `critic_real` for the first parents; `variety`, `variety_mixes` and `recognised`.

    Raises:
        ValueError: Data without labels or with one class in test; t not between 0 and 1.
    """
    if not 0 < t < 1:
        raise ValueError(f"t={t}: must lie between 0 and 1, so that both parents have a share")
    features = classifier(data, seed, folder=folder_of(method))
    g = torch.Generator().manual_seed(seed)
    first, second = pairs(data, n, g)
    reference = torch.randperm(len(data.train), generator=g)[:n_real]
    a, b = (data.test.pixels(i.to(data.test.images.device)).cpu() for i in (first, second))
    where = torch.tensor([t])
    shape = method.code_shape
    h1, h2 = (encode(method, data.test, i).reshape(-1, *shape) for i in (first, second))
    walked = walk(path, h1, h2, where, g)[:, 0]
    mixes, parents = decode(method, walked), torch.stack([decode(method, h1), decode(method, h2)])
    blends = lerp(a, b, where)[:, 0]
    shares = torch.tensor([1 - t, t])[:, None].expand(2, len(mixes))

    judge = Judge(method, data, features, features.describe_split(data.train, reference)[0])
    assert data.test.labels is not None
    labels = data.test.labels.cpu()
    classes = torch.stack([labels[first], labels[second]])
    of_real = judge.rows(a, torch.stack([a, b]), shares, classes)
    usual = max(float(of_real["memory"].double().mean()), 1e-12)
    values: dict[str, float] = {}
    for suffix, images, known in (("", mixes, parents), ("_pixels", blends, torch.stack([a, b]))):
        table = judge.rows(images, known, shares, classes)
        numbers = {name: column for name, column in table.items() if name not in IDENTITIES}
        values |= {name + suffix: float(column.double().nanmean()) for name, column in numbers.items()}
        values["realistic" + suffix] = float((table["density"] > 0).double().mean())
        values["memory" + suffix] /= usual
    values |= {
        f"{name}_real": float(of_real[name].double().mean())
        for name in ("density", "critic")
        if name in of_real
    }
    variety = measure(a, parents[0], mixes, blends)
    values = variety.gate(values, [name for name in values if name.endswith(("_pixels", "_real"))])
    protocol: dict[str, object] = {"path": path, "t": t, "n": len(mixes), "n_real": len(reference), "k": K}
    protocol |= {"parents": "test images of different classes", "seed": seed}
    return Score(values, protocol | features.protocol | variety.protocol)


IDENTITIES = ("class", "nearest")


class Judge(NamedTuple):
    """Measures mixes against a data set.

    Arguments:
        method: The method, whose adversary judges realism if it has one.
        data: The data with the real images.
        features: The feature network.
        real: Features of the real images that density is measured against, shape (R, D).
    """

    method: Autoencodes
    data: Data
    features: Features
    real: Tensor

    def rows(
        self, mixes: Tensor, parents: Tensor, shares: Tensor, classes: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Judge each mix by itself, with one entry in each column.

        Arguments:
            mixes: Images (N, C, H, W).
            parents: Images (K, N, C, H, W), encoded and decoded if the mixes are decoded.
            shares: The share of each parent, (K, N).
            classes: The class of each parent, (K, N), if it is known.

        Returns:
            Columns (N,): `density`, `ghosting`, `collapse`, `confidence`, `class`, `memory` (root mean square
            distance to the nearest training image), `nearest` (its index), `critic` (probability of real) if
            the method has an adversary of images, `parent_classes` (probability of the parents' classes) if
            these are known.
        """
        mixes, parents = mixes.cpu(), parents.cpu()
        found, p = self.features.describe(mixes)
        some = self.data.test.pixels(slice(IMAGES)).cpu().flatten(1)
        typical = typical_distance(some) / some.shape[1] ** 0.5
        ghosting, collapse = exposures(mixes, parents, shares, typical=typical)
        memory, nearest = nearest_training(mixes, self.data)
        columns = {
            "density": density(self.real, found),
            "ghosting": ghosting,
            "collapse": collapse,
            "confidence": p.max(1).values,
            "class": p.argmax(1),
            "memory": memory,
            "nearest": nearest,
        }
        opinion = _opinion(self.method, mixes)
        if opinion is not None:
            columns["critic"] = opinion
        if classes is not None:
            columns["parent_classes"] = torch.zeros_like(p).scatter_(1, classes.T, 1).mul_(p).sum(1)
        return columns


def exposures(
    mixes: Tensor, parents: Tensor, shares: Tensor, *, typical: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute ghosting and collapse of each mix, shapes (N,), in 0..1; see the formulas above.

    Both are NaN where the parents are nearly one image, that is, where no two of them are further apart than
    a tenth of `typical`, or than rounding.

    Arguments:
        mixes: Images (N, C, H, W).
        parents: Images (K, N, C, H, W), K of 2 or more.
        shares: The share of each parent, (K, N), summing to one over K.
        typical: Root mean square distance of two real images.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    if parents.shape[1:] != mixes.shape or shares.shape != parents.shape[:2]:
        raise ValueError(
            f"need mixes (N, C, H, W), parents (K, N, C, H, W) and shares (K, N), got {tuple(mixes.shape)}, "
            f"{tuple(parents.shape)}, {tuple(shares.shape)}"
        )
    m, x = mixes.double().flatten(1), parents.double().flatten(2)
    blend = (shares.double()[..., None] * x).sum(0)
    scale = (blend - x).square().mean(2).sqrt().min(0).values
    to_blend = (m - blend).square().mean(1).sqrt()
    to_parent = (m - x).square().mean(2).sqrt().min(0).values
    far = torch.stack([(u - v).square().mean(1).sqrt() for u, v in itertools.combinations(x, 2)]).amax(0)
    rounding = 1e-5 * x.square().mean(2).sqrt().amax(0)
    apart = (far > NEAR * typical) & (far > rounding) & (scale > 1e-6 * far)
    scale = torch.where(apart, scale, torch.nan)
    return tuple((1 - d / scale).clamp_min(0) for d in (to_blend, to_parent))  # type: ignore[return-value]


def density(real: Tensor, fake: Tensor, k: int = K) -> Tensor:
    """Compute the density of each fake: the number of balls of real features that it lies in, over k.

    The ball of a real image reaches to its k-th neighbour. The density is about 1 on average for real images
    and 0 for an image unlike all of them.

    Arguments:
        real, fake: Features, shapes (N, D) and (M, D).

    Returns:
        Shape (M,).

    Raises:
        ValueError: There are no more than k real images.

    References:
        Naeem et al., "Reliable fidelity and diversity metrics", ICML 2020.
    """
    if len(real) <= k:
        raise ValueError(f"{len(real)} real images are too few for {k} neighbours")
    near = radii(real, (k,))[0]
    return torch.cat([(distances(part, real) <= near).double().sum(1) / k for part in fake.split(1000)])


def nearest_training(images: Tensor, data: Data) -> tuple[Tensor, Tensor]:
    """Find the training image nearest to each image: root mean square distances (N,), and indices (N,).

    A matrix product, which is fast and rounds, finds the four nearest of every 5,000 images; exact
    differences choose among them.
    """
    flat = images.cpu().flatten(1)
    best = torch.full((len(flat),), torch.inf)
    index = torch.zeros(len(flat), dtype=torch.long)
    for start in range(0, len(data.train), 5000):
        part = data.train.pixels(slice(start, start + 5000)).cpu().flatten(1)
        four = torch.cdist(flat, part).topk(min(4, len(part)), dim=1, largest=False).indices
        exact = torch.stack([(flat - part[i]).norm(dim=1) for i in four.T])
        distance, which = exact.min(0)
        found = four.gather(1, which[:, None])[:, 0]
        closer = distance < best
        best = torch.where(closer, distance, best)
        index = torch.where(closer, found + start, index)
    return best / flat.shape[1] ** 0.5, index


def pairs(data: Data, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw n pairs of test images of different classes: their indices, shapes (n,) and (n,).

    Raises:
        ValueError: The test images have no labels, or one class.
    """
    labels = data.test.labelled().labels
    if labels is None or len(torch.unique(labels)) < 2:
        raise ValueError("this metric needs test images of two classes or more")
    assert data.test.labels is not None
    labels = data.test.labels.cpu()
    known = (labels != UNLABELLED).nonzero()[:, 0]
    first = known[torch.randint(len(known), (n,), generator=generator)]
    second = known[torch.randint(len(known), (n,), generator=generator)]
    while (same := labels[first] == labels[second]).any():
        second[same] = known[torch.randint(len(known), (int(same.sum()),), generator=generator)]
    return first, second


@torch.no_grad()
def _opinion(method: object, images: Tensor) -> Tensor | None:
    realism = getattr(method, "realism", lambda images: None)
    if realism(images[:1].to(device_of(method))) is None:
        return None
    return in_portions(method, "realism", images)
