"""The deeper probe: what does the code hold that a linear classifier cannot read?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data import Data
from latentmix.methods.roles import Encodes
from latentmix.metrics import Count, Score, metric
from latentmix.metrics.fit import fit
from latentmix.metrics.probe import labelled_codes, standardise

CHECKS = 20  # of the validation accuracy, evenly over the steps
BATCH = 256


@metric
def evaluate(
    method: Encodes, data: Data, *, seed: int = 0, hidden: Count = 256, steps: Count = 4000, lr: float = 1e-3
) -> Score:
    """Accuracy on test images of a small neural network with two hidden layers, trained on the frozen codes.

    Codes are standardised; Adam, batches of 256; the validation accuracy is taken 20 times on the way, and
    the test accuracy is that of the best of them.

    Arguments:
        hidden: Units of each hidden layer.
        steps: Batches.
        lr: Adam's step size, annealed to zero by a half cosine.

    Returns:
        `deep_accuracy` on test and `deep_valid_accuracy`, both at the best validation accuracy.

    Raises:
        ValueError: Data without labels, or with a single class.
    """
    (h, y), (h_valid, y_valid), (h_test, y_test) = labelled_codes(method, data)
    standardise(h, h_valid, h_test)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach other devices too
        net = nn.Sequential(
            nn.Linear(h.shape[1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, int(y.max()) + 1),
        )
    best_step, best_valid, best_test = 0, -1.0, 0.0

    def check(step: int) -> None:
        nonlocal best_step, best_valid, best_test
        if step % max(1, steps // CHECKS) == 0 and (valid := _accuracy(net, h_valid, y_valid)) > best_valid:
            best_step, best_valid, best_test = step, valid, _accuracy(net, h_test, y_test)

    optimiser = torch.optim.Adam(net.parameters(), lr=lr)
    fit(
        net,
        lambda index: F.cross_entropy(net(h[index]), y[index]),
        len(y),
        steps=steps,
        batch=BATCH,
        optimiser=optimiser,
        schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps),
        seed=seed,
        after=check,
    )
    protocol: dict[str, object] = {"hidden": [hidden, hidden], "steps": steps, "lr": lr, "seed": seed}
    protocol |= {"best_step": best_step, "n_train": len(y), "n_valid": len(y_valid), "n_test": len(y_test)}
    return Score({"deep_accuracy": best_test, "deep_valid_accuracy": best_valid}, protocol)


@torch.no_grad()
def _accuracy(net: nn.Module, h: Tensor, y: Tensor) -> float:
    return float((net(h).argmax(1) == y).double().mean())
