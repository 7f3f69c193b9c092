"""Mixed hidden states, decoded to images: Manifold Mixup, figures 3 and 4, on handwritten digits.

python -m latentmix.experiments.manifold_mixup.decoder DATA OUT      about two minutes of one core

Published is a decoder of 128 maps for a PreActResNet-18 on CIFAR-10, 200 epochs at a learning rate of 1e-4;
here all is narrower and shorter.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data import Split, from_path, load
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.networks.resnet import PreActResNet, Stages
from latentmix.pictures.tiles import Label, Tile, sheet, store
from latentmix.runs.folder import write_atomically
from latentmix.supervised import mixed_loss
from latentmix.training.device import keep_freed_memory

# Where each variant mixes, and alpha.
VARIANTS: dict[str, tuple[list[str], float] | None] = {
    "no mixup": None,
    "input mixup": (["input"], 1.0),
    "manifold mixup": (["input", "layer1", "layer2"], 2.0),
}
NETWORK = PreActResNet(18, width=8)
SIZE, IMAGES, TEST_IMAGES = 28, 6000, 1000
EPOCHS, BATCH, LR = 2, 50, 0.05  # of the classifier
DECODER_EPOCHS, DECODER_BATCH, DECODER_LR = 3, 32, 1e-3
NOISE = 0.05  # deviation, added to the hidden states that the decoder learns from, as published
SEED, COLUMNS = 0, 11
PAIRS = ((0, 1), (4, 9), (7, 2))  # of digits


class Decoder(nn.Sequential):
    """Five 5x5 convolutions, leaky ReLU between them, twice as large after the second: (B, C, H, W) to
    (B, c_out, 2 H, 2 W).

    1,077,955 weights for 128 maps and colour images, as published.

    Arguments:
        maps: C, kept at first, halved by the third and by the fourth convolution.
        c_out: Channels of the images.
    """

    def __init__(self, maps: int, c_out: int) -> None:
        widths = (maps, maps, maps, maps // 2, maps // 4, c_out)
        layers: list[nn.Module] = []
        for i, (c_in, c_to) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Upsample(scale_factor=2)] if i == 2 else []
            layers += [nn.Conv2d(c_in, c_to, 5, padding=2), nn.LeakyReLU(0.02)]
        super().__init__(*layers[:-1])


def hidden(model: Stages, x: Tensor) -> Tensor:
    """What `layer2` puts out: images (B, C, H, W) to (B, 2 width, H / 2, W / 2)."""
    return model.layer2(model.layer1(model.stem(x)))


def classifier(split: Split, variant: str) -> Stages:
    """Train a classifier on labelled images, mixed as `variant` says."""
    assert split.labels is not None
    torch.manual_seed(SEED)
    g = torch.Generator().manual_seed(SEED)
    channels, height, width = split.images.shape[1:]
    model = NETWORK.classifier((channels, height, width), 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4, nesterov=True)
    mixing = VARIANTS[variant]
    mixup = None if mixing is None else ManifoldMixup(model, mixing[0], alpha=mixing[1], generator=g)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(split), generator=g)[: len(split) // BATCH * BATCH].split(BATCH):
            loss = mixed_loss(model, mixup, F.cross_entropy, split.pixels(rows), split.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if mixup is not None:
        mixup.remove()
    return model.eval()


def decoder(model: Stages, split: Split) -> Decoder:
    """Learn to decode the hidden states of a classifier that stays as it is: sum of squares an image."""
    torch.manual_seed(SEED)
    g = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        maps = hidden(model, split.pixels(slice(0, 1))).shape[1]
    decode = Decoder(maps, split.images.shape[1])
    optimizer = torch.optim.Adam(decode.parameters(), lr=DECODER_LR)
    for _ in range(DECODER_EPOCHS):
        for rows in torch.randperm(len(split), generator=g).split(DECODER_BATCH):
            x = split.pixels(rows)
            with torch.no_grad():
                h = hidden(model, x)
            h = h + NOISE * torch.randn(h.shape, generator=g)
            loss = (decode(h) - x).square().sum() / len(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return decode.eval()


@torch.no_grad()
def score(model: Stages, decode: Decoder, test: Split) -> dict[str, float]:
    """How well images are decoded and mixes are not blends, for pixels in [-1, 1].

    Returns:
        `accuracy` of the classifier, in percent; `error`, mean square, of decoded test images;
        `apart_from_blend`, mean square difference of the decoded middle of two hidden states from the middle
        of the two decoded images: 0 if mixing there were mixing pixels.
    """
    assert test.labels is not None
    right = error = apart = 0.0
    for rows in torch.arange(len(test)).split(BATCH):
        x = test.pixels(rows)
        h = hidden(model, x)
        decoded = decode(h)
        right += (model(x).argmax(1) == test.labels[rows]).sum().item()
        error += (decoded - x).square().flatten(1).mean(1).sum().item()
        middle = decode((h + h.roll(1, 0)) / 2) - (decoded + decoded.roll(1, 0)) / 2
        apart += middle.square().flatten(1).mean(1).sum().item()
    n = len(test)
    return {"accuracy": 100 * right / n, "error": error / n, "apart_from_blend": apart / n}


@torch.no_grad()
def strip(model: Stages, decode: Decoder, pair: Tensor) -> Tensor:
    """Decoded mixes of the hidden states of a pair of images (2, C, H, W): (T, C, H, W)."""
    return decode(between(hidden(model, pair)))


def between(pair: Tensor) -> Tensor:
    """(1 - t) a + t b of a pair (2, ...), t from 0 to 1: (T, ...)."""
    return torch.stack([torch.lerp(pair[0], pair[1], t) for t in torch.linspace(0, 1, COLUMNS)])


def run(data: Path, out: Path) -> None:
    """Train each variant and its decoder, print and write decoder.json and decoder.png to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    digits = load(from_path(data), image_size=SIZE, train_size=IMAGES)
    test = digits.test.take(slice(0, TEST_IMAGES))
    assert test.labels is not None
    labels = test.labels.tolist()
    pairs = [test.pixels(torch.tensor([labels.index(a), labels.index(b)])) for a, b in PAIRS]
    strips = [("pixels", [between(pair) for pair in pairs])]
    rows: dict[str, dict[str, float]] = {}
    for variant in VARIANTS:
        started = time.monotonic()
        model = classifier(digits.train, variant)
        decode = decoder(model, digits.train)
        rows[variant] = score(model, decode, test) | {"seconds": time.monotonic() - started}
        strips.append((variant, [strip(model, decode, pair) for pair in pairs]))
        print(
            "{}: accuracy {accuracy:.1f} %, reconstruction error {error:.4f}, apart from a blend "
            "{apart_from_blend:.4f}, {seconds:.0f} s".format(variant, **rows[variant]),
            flush=True,
        )
    write_atomically(out / "decoder.json", json.dumps({"rows": rows}, indent=2) + "\n")
    draw(strips, out / "decoder.png")


def draw(strips: list[tuple[str, list[Tensor]]], path: Path) -> None:
    """A block for each pair: blended pixels (figure 3), then decoded mixes of each variant (figure 4)."""
    tiles, labels = [], []
    for block in range(len(PAIRS)):
        for row, (name, images) in enumerate(strips):
            y = block * (len(strips) + 0.3) + row
            tiles += [Tile(x, y, image) for x, image in enumerate(images[block])]
            labels.append(Label(0, y, name))
    for x, t in enumerate(torch.linspace(0, 1, COLUMNS).tolist()):
        labels.append(Label(x, 0, f"{t:.1f}", "above"))
    store(sheet(tiles, labels, least=56), path)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
