"""Mixes with wanted attributes: AMR, figure 5, for a run of `amr_classes`; and how often they have them.

python -m latentmix.experiments.amr.attribute_mixes RUN [OUT.png]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from latentmix import runs
from latentmix.data import Split
from latentmix.evaluate import data_of
from latentmix.methods.amr_classes import AMRClasses, reachable
from latentmix.pictures.figures import evaluating
from latentmix.pictures.tiles import Label, Tile, sheet, store

OFF, ON = torch.tensor([1.0, -1, -1]), torch.tensor([-1.0, 0.4, -1])  # red and green
PAIRS, MOST = 6, 8  # rows of the figure, mixes in a row


def figure(
    method: AMRClasses,
    x: Tensor,
    y: Tensor,
    names: Sequence[str] = (),
    path: Path | None = None,
) -> Image.Image:
    """Draw a row for each pair: one parent, a mix for every attribute vector in reach, the other parent.

    Squares under an image say, one for each attribute from left to right, off (red) or on (green): true for
    the parents, wanted for the mixes.

    Arguments:
        x: Parents, (P, 2, C, H, W), real images in [-1, 1].
        y: Their attributes, (P, 2, A).
        names: Of the attributes, for the title.
        path: Where to write the picture.
    """
    tiles, labels = [], []
    widest = max(2 ** int((pair[0] != pair[1]).sum()) for pair in y)
    right = min(widest, MOST) + 1.3
    for row, (parents, attributes) in enumerate(zip(x, y)):
        wanted = reachable(attributes[0], attributes[1])[:MOST]
        mixes = mixes_to(method, parents, attributes, wanted)
        tiles += [Tile(c + 1.15, row * 1.05, marked(m, w)) for c, (m, w) in enumerate(zip(mixes, wanted))]
        tiles.append(Tile(0, row * 1.05, marked(parents[0], attributes[0])))
        tiles.append(Tile(right, row * 1.05, marked(parents[1], attributes[1])))
    labels = [Label(0, 0, "real", "above"), Label(right, 0, "real", "above")]
    title = f"squares: {', '.join(names)}" if names else None
    return store(sheet(tiles, labels, title), path)


def mixes_to(method: AMRClasses, parents: Tensor, attributes: Tensor, wanted: Tensor) -> Tensor:
    """Decode one pair's mixes towards each wanted vector, units from the likelier parent: (N, C, H, W)."""
    device, n = next(method.parameters()).device, len(wanted)
    with evaluating(method):
        h = method.encode(parents.to(device))
        h1, h2 = (code[None].expand(n, *code.shape) for code in h)
        y1, y2 = (a.to(device, h.dtype)[None].expand(n, -1) for a in attributes)
        return method.decode(method.mix_to(h1, h2, wanted.to(device, h.dtype), y1, y2)).cpu()


def marked(image: Tensor, attributes: Tensor) -> Tensor:
    """An image (C, H, W) with a strip of squares under it: (3, H + W / 8, W)."""
    _, _, width = image.shape
    side = width // 8
    strip = torch.ones(3, side, width)
    for i, value in enumerate(attributes[: width // side].tolist()):
        colour = (ON if value > 0.5 else OFF)[:, None, None]
        strip[:, 1:, i * side : (i + 1) * side - 1] = colour
    return torch.cat([image.cpu().float().expand(3, -1, -1), strip], 1)


def agreement(method: AMRClasses, x: Tensor, y: Tensor) -> dict[str, float]:
    """How often mixes have what was wanted where their parents differ, by the critic's own classifier.

    Chance is 0.5 for mixes: of two parents that differ in an attribute, one has it.

    Arguments:
        x: Parents, (P, 2, C, H, W).
        y: Their attributes, (P, 2, A).

    Returns:
        `mixes`: share of the wanted attributes that the classifier finds, over all vectors in reach;
        `parents`: its accuracy on the same attributes of the real parents, which bounds what `mixes` can
            tell.
    """
    device = next(method.parameters()).device
    found, asked, right, known = 0, 0, 0, 0
    for parents, attributes in zip(x, y):
        differ = attributes[0] != attributes[1]
        if not differ.any():
            continue
        wanted = reachable(attributes[0], attributes[1])
        mixes = mixes_to(method, parents, attributes, wanted)
        with evaluating(method):
            told, real = (method.critic.classify(images.to(device)).cpu() > 0 for images in (mixes, parents))
        found += int((told == (wanted > 0.5))[:, differ].sum())
        asked += len(wanted) * int(differ.sum())
        right += int((real == (attributes > 0.5))[:, differ].sum())
        known += 2 * int(differ.sum())
    if not asked:
        raise ValueError("no pair differs in an attribute")
    return {"mixes": found / asked, "parents": right / known}


def pairs(split: Split, count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random pairs of images and their attributes, most different first: (P, 2, C, H, W), (P, 2, A)."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(split), (20 * count, 2), generator=generator)
    if split.attributes is not None:
        y = split.attributes.cpu()[index].float()
    elif split.labels is not None:
        y = F.one_hot(split.labels.cpu()[index], classes).float()
    else:
        raise ValueError("the data have neither attributes nor labels")
    best = (y[:, 0] != y[:, 1]).sum(1).argsort(descending=True, stable=True)[:count]
    return split.pixels(index[best].flatten()).cpu().unflatten(0, (-1, 2)), y[best]


def main(folder: Path, path: Path) -> None:
    """Draw figure 5 for a run, and print the agreement."""
    opened = runs.open_run(folder)
    if not isinstance(opened.method, AMRClasses):
        raise ValueError(f"{folder} is a run of {type(opened.method).label}; this figure needs amr_classes")
    data = data_of(opened)
    names = data.attribute_names or data.class_names
    x, y = pairs(data.test, PAIRS, len(names))
    figure(opened.method, x, y, names, path)
    print(agreement(opened.method, *pairs(data.test, 200, len(names), seed=1)))


if __name__ == "__main__":
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(sys.argv[1]) / "figures" / "attribute_mixes.png"
    main(Path(sys.argv[1]), out)
