"""Draw the first picture of the README: walks between two digits and between two pieces of clothing.

    python examples/first_picture.py DIGITS CLOTHES [OUT]

DIGITS and CLOTHES are MNIST and Fashion-MNIST, as `data=` takes them (`mnist` and `fashion_mnist` download
them). A plain autoencoder and AMR are trained on each, with the same network, codes of 256 numbers and the
same 150,000 images; then the same pairs of test images are mixed by both. It takes about 25 minutes of one
core. Trainings that are finished in OUT (default: runs/first_picture) are used again.
"""

import sys
from pathlib import Path

import torch

import latentmix as lm
from latentmix.pictures import figures

METHODS = {
    "AE": {"name": "autoencoder", "network": {"d_h": 256}},
    "AMR": {"name": "amr", "mixer": {"k": 2}, "lamb": 30, "network": {"d_h": 256}},
}
BUDGET = {"steps": 2343, "lr": 1e-3, "schedule": "cosine", "precision": "bf16"}
PAIRS = {"digits": [(8186, 8195), (1463, 7136)], "clothes": [(7532, 784)]}  # rows of the test images


def main(digits: str, clothes: str, out: str = "runs/first_picture") -> None:
    walks: dict[str, list[torch.Tensor]] = {}
    ends = []
    for name, data in {"digits": digits, "clothes": clothes}.items():
        trained = {
            label: lm.train(method=method, data=data, out=f"{out}/{name}-{label}", **BUDGET)
            for label, method in METHODS.items()
        }
        test = trained["AE"].data.test
        pairs = test.pixels(torch.tensor(PAIRS[name]).flatten()).unflatten(0, (-1, 2))
        methods = {label: run.method for label, run in trained.items()}
        for label, walk in figures.mixup_paths(methods, pairs[:, 0], pairs[:, 1]).items():
            walks.setdefault(label, []).append(walk)
        ends.append(pairs)
    rows = {label: torch.cat(walk) for label, walk in walks.items()}
    figures.interpolations(rows, Path(out) / "interpolations.png", ends=torch.cat(ends))


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
