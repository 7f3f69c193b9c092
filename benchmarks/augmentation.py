"""Four trials of `latentmix augment`: rare digits, two of a held-out combination of sprites, shuffled labels.

python benchmarks/augmentation.py mnist --data FOLDER --out OUT
python benchmarks/augmentation.py sprites --out OUT
python benchmarks/augmentation.py unlabelled --seeds 12 --out OUT
python benchmarks/augmentation.py shuffled
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

import latentmix as lm
from latentmix.apps.augment.augment import judge, what_is_judged
from latentmix.apps.augment.pools import blends, limits, mixes
from latentmix.data import Data, from_path, load
from latentmix.data.sources.digits import Digits
from latentmix.data.sources.sprites import FACTORS, SHAPES, Sprites, number, render, shrink
from latentmix.data.split import UNLABELLED, Split
from latentmix.metrics.features.classifier import classifier
from latentmix.mixing import Bernoulli

MODEL: dict[str, Any] = {"batch_size": 32, "device": "cpu", "lr": 1e-3}


def method(name: str, network: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Settings of a mixing model whose reconstruction loss draws strokes in few steps."""
    return {"name": name, "network": network, "reconstruction": "bce", **options}


def rows(data: Data, counts: list[int], seed: int = 0) -> Data:
    """The data with so many training images of each class, at random."""
    assert data.train.labels is not None
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    labels = data.train.labels[order]
    kept = torch.cat([order[labels == c][:n] for c, n in enumerate(counts)])
    return dataclasses.replace(data, train=data.train.take(kept))


def mnist(folder: Path, out: Path, name: str, seeds: int) -> None:
    """Five classes of 10 images and five of 200, at 16 pixels; 1,000 validation images."""
    data = rows(load(from_path(folder), image_size=16), [10] * 5 + [200] * 5)
    data = dataclasses.replace(data, valid=data.valid.take(slice(0, 1000)))
    model = {**MODEL, "method": method(name, {"name": "conv", "width": 8}), "steps": 300}
    told(lm.augment(data, out, seeds=seeds, steps=200, model=model, per_class=100))


def sprites(out: Path, seeds: int) -> None:
    """Shapes; no training image is large and on the right, which is what is tested. Mixed by masks."""
    held = {"scale": [3, 4, 5], "x": list(range(16, 32))}
    data = load(Sprites(20_000), image_size=16, train_size=2000, hold_out=held)
    data = dataclasses.replace(data, valid=data.valid.take(slice(0, 1000)))
    mixer = {"name": "bernoulli", "k": 2}
    model = {**MODEL, "method": method("amr", {"name": "mlp", "d_h": 16}, mixer=mixer), "steps": 1500}
    told(lm.augment(data, out, seeds=seeds, steps=200, model=model, per_class=500))


def unlabelled(out: Path, seeds: int, draw: int) -> None:
    """Squares and ellipses; labelled ellipses lie along the left and the upper edge alone.

    Images without a label, nearly as many as with one, lie everywhere. The mixing model also learns from
    them. Fair masks over the units of its code mix labelled ellipses. Tested are ellipses away from both
    edges, beside squares there.
    """
    inside = list(range(6, 32))
    upright = [[0, 1], [3, 4, 5], [0], range(32), range(32)]  # the three largest scales
    known = np.stack(np.meshgrid(*upright, indexing="ij"), -1).reshape(-1, 5)
    known = known[np.random.RandomState(draw).permutation(len(known))]
    images = torch.from_numpy(shrink(render(number(known)), 8)[:, None])
    factors = torch.from_numpy(known)
    every = Split(images, factors[:, 0], factors=factors)
    held = (factors[:, 0] == 1) & (factors[:, 3] >= 6) & (factors[:, 4] >= 6)
    rows = torch.arange(len(known))
    valid, rest = rows[1300:2600], rows[2600:]
    free = rest[~held[rest]]
    others = torch.cat([free[2000:], rest[held[rest]]]).sort().values
    others = others[torch.from_numpy(np.random.RandomState(draw + 1).permutation(len(others)))]
    train = every.take(torch.cat([free[:2000], others]))
    assert train.labels is not None
    train.labels[2000:] = UNLABELLED
    data = Data(
        name="sprites",
        train=train,
        valid=every.take(valid[~held[valid]]),
        test=every.take(rows[:1300]),
        class_names=SHAPES[:2],
        attribute_names=(),
        fingerprint="0" * 64,
        factor_names=FACTORS,
        held_out={"label": [1], "x": inside, "y": inside},
    )
    vae = {"name": "vae", "beta": 0.5, "network": {"name": "mlp", "d_h": 6}}
    model = {**MODEL, "method": vae, "steps": 5000, "batch_size": 64, "lr": 3e-3, "schedule": "cosine"}
    mixer = Bernoulli(p="unit")
    told(lm.augment(data, out, seeds=seeds, steps=300, model=model, per_class=1000, mixer=mixer))


def shuffled(trials: int) -> None:
    """Labels that mean nothing: a small case, many times."""
    verdicts: Counter[str] = Counter()
    whole = load(Digits(), image_size=16)
    for trial in range(trials):
        g = torch.Generator().manual_seed(trial)
        splits = {}
        for name in ("train", "valid", "test"):
            split = getattr(whole, name)
            labels = torch.randint(3, (len(split),), generator=g)
            splits[name] = dataclasses.replace(split, labels=labels)
        data = dataclasses.replace(whole, **splits, class_names=("a", "b", "c"))
        data = rows(data, [100, 100, 20], trial)
        hidden = dataclasses.replace(data, test=data.valid)
        if not trial:
            settings = {**MODEL, "method": method("autoencoder", {"name": "conv", "width": 4}), "steps": 200}
            run = lm.train(data=rows(whole, [20] * 10), out="runs/shuffled", quiet=True, **settings)
            features = classifier(hidden)
        known = limits(hidden, features)
        pools = [
            {
                "mixes": mixes(run.method, hidden, [2], 40, features, known, seed=seed),
                "blends": blends(hidden, [2], 40, seed=seed),
            }
            for seed in range(5)
        ]
        outcome = judge(data, pools, what_is_judged(data, [0, 1, 2])[0], steps=15)
        verdicts[outcome.verdict] += 1
        verdicts["any arm beyond noise"] += any(c.verdict != "noise" for c in outcome.comparisons)
        print(trial, outcome.text, dict(verdicts), flush=True)


def told(outcome: Any) -> None:
    """Print the verdict and its numbers."""
    print(outcome.text, f"\n{outcome.judged}; {len(outcome.made)} mixes, dropped {outcome.made.dropped}")
    for arm, values in outcome.recalls.items():
        print(f"{arm:15} {', '.join(f'{100 * v:.1f}' for v in values)}  shares {outcome.shares[arm]}")
    for c in outcome.comparisons:
        numbers = f"{100 * c.difference:+.1f} +- {100 * c.error:.1f}, p {c.p:.3g}"
        print(f"{c.arm} against {c.against}: {numbers}: {c.verdict}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trial", choices=["mnist", "sprites", "unlabelled", "shuffled"])
    parser.add_argument("--data", type=Path, default=Path("mnist"))
    parser.add_argument("--out", type=Path, default=Path("runs/augmented"))
    parser.add_argument("--method", default="amr")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--draw", type=int, default=1, help="which sprites of the third trial get labels")
    words = parser.parse_args()
    if words.trial == "mnist":
        mnist(words.data, words.out, words.method, words.seeds)
    elif words.trial == "sprites":
        sprites(words.out, words.seeds)
    elif words.trial == "unlabelled":
        unlabelled(words.out, words.seeds, words.draw)
    else:
        shuffled(words.trials)
