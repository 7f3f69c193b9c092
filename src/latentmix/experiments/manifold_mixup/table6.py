"""Mixup in GAN training: Manifold Mixup v1, table 6 and section 4.4. Choices only.

`FULL` are the published configurations, `SHORT` the same comparisons in a form that a processor can train.
Settings are those of a run (`latentmix train`), without data, seed and folder; published numbers are those of
the paper: inception score, its deviation over ten splits of 50,000 samples, and Frechet distance, each the
mean of three runs. `gpu_hours` estimates what a configuration costs.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from latentmix import config
from latentmix.methods import Batch, Method
from latentmix.training.step import make_optimisers, step

Settings = dict[str, Any]
Published = dict[str, float]

TITLE = "Mixup in GAN training (Manifold Mixup, table 6)"
FULL_METRICS = ("samples", "samples.features=inception", "samples.n=50000")
SHORT_METRICS = ("samples",)
# Reported in the paper from Gulrajani et al. (2017) and Miyato et al. (2018), not run by its authors.
CITED: dict[str, Published] = {
    "WGAN-GP": {"inception_score": 7.86, "inception_score_deviation": 0.08},
    "SN-GAN + hinge": {"inception_score": 8.22, "inception_score_deviation": 0.05, "frechet": 21.7},
}

IMAGES = 50_000  # of CIFAR-10
# What a GPU is assumed to sustain on these networks, in operations a second: not measured.
SUSTAINED = 10e12

FR: Settings = {"mixing": "fr"}
FF: Settings = {"mixing": "fr_ff"}
STEM: Settings = {"mixing": "fr", "places": ["pixels", "stem"]}
BLOCKS: Settings = {"mixing": "fr", "places": ["pixels", "block1", "block2"]}


def _numbers(score: float, deviation: float, frechet: float) -> Published:
    return {"inception_score": score, "inception_score_deviation": deviation, "frechet": frechet}


def _full(network: Settings, n_dis: int, **method: Any) -> Settings:
    """The published run on 32x32 colour images: 500 epochs of 782 batches, the last one smaller."""
    network = {"name": "gan_residual", **network}
    return {
        "method": {"name": "gan", "network": network, **{"form": "paper", **method}},
        "image_size": 32,
        "epochs": 500,
        "keep_last": True,
        "validate_every": 10,
        "every": {"generator": n_dis},
    }


def _short(network: Settings, **method: Any) -> Settings:
    """1,000 steps at a larger learning rate, with one step of the critic for each of the generator."""
    network = {"name": "gan_small", "width": 8, **network}
    return {
        "method": {"name": "gan", "network": network, **method},
        "image_size": 16,
        "steps": 1000,
        "lr": 1e-3,
    }


GP, SN = {"spectral": False, "bypass": "identity"}, {"spectral": True}
HIDDEN = {"spectral": False, "stem": True}
# The code published with the paper has scripts for gan-gp, sn-gan, sn-gan-fr (for 600 epochs), sn-hinge and
# hidden-fr; the other cells take what the nearest of them takes. Cells without numbers are not in the table:
# the paper tells of the blocks, with hard and with soft labels, and of equation 1 that they did worse.
FULL: dict[str, tuple[Settings, Published]] = {
    "gan-gp": (_full(GP, 1, penalty=10), _numbers(7.30, 0.09, 30.2)),
    "gan-gp-fr": (_full(GP, 1, penalty=10, **FR), _numbers(7.34, 0.09, 28.0)),
    "gan-gp-fr-ff": (_full(GP, 1, penalty=10, **FF), _numbers(7.55, 0.08, 25.6)),
    "sn-gan": (_full(SN, 5), _numbers(7.94, 0.08, 21.7)),
    "sn-gan-fr": (_full(SN, 5, **FR), _numbers(8.00, 0.08, 21.5)),
    "sn-gan-fr-ff": (_full(SN, 5, **FF), _numbers(8.13, 0.10, 20.6)),
    "sn-hinge": (_full(SN, 5, loss="hinge"), _numbers(7.97, 0.10, 22.2)),
    "sn-hinge-fr": (_full(SN, 5, loss="hinge", **FR), _numbers(7.92, 0.09, 22.6)),
    "sn-hinge-fr-ff": (_full(SN, 5, loss="hinge", **FF), {}),
    # The published hidden mixes are of the first pair of each batch alone; the other cell mixes all pairs.
    "hidden-fr": (_full(HIDDEN, 1, penalty=0.5, **STEM), _numbers(8.05, 0.06, 20.7)),
    "hidden-fr-all-pairs": (_full(HIDDEN, 1, penalty=0.5, form="clean", **STEM), {}),
    "blocks-fr": (_full(SN, 5, form="clean", **BLOCKS), {}),
    "blocks-fr-soft": (_full(SN, 5, form="clean", mix_labels="soft", **BLOCKS), {}),
    "sn-mixup": (_full(SN, 5, mixing="pixels"), {}),
}

FREE = {"spectral": False}
SHORT: dict[str, tuple[Settings, Published]] = {
    "gan-gp": (_short(FREE, penalty=10), {}),
    "gan-gp-fr": (_short(FREE, penalty=10, **FR), {}),
    "gan-gp-fr-ff": (_short(FREE, penalty=10, **FF), {}),
    "sn-gan": (_short(SN), {}),
    "sn-gan-fr": (_short(SN, **FR), {}),
    "sn-gan-fr-ff": (_short(SN, **FF), {}),
    "sn-hinge": (_short(SN, loss="hinge"), {}),
    "sn-hinge-fr": (_short(SN, loss="hinge", **FR), {}),
    "sn-hinge-fr-ff": (_short(SN, loss="hinge", **FF), {}),
}


def gpu_hours(settings: Settings) -> float:
    """Operations of the complete training on CIFAR-10 at `SUSTAINED` a second, in hours: an estimate."""
    run = config.resolve(settings)
    images = run.steps * run.batch_size if run.steps else (run.epochs or 0) * IMAGES
    return images * operations(settings) / SUSTAINED / 3600


def operations(settings: Settings, batch: int = 2) -> float:
    """Operations of a training step for each image of the batch, averaged over steps with the generator and
    without.

    Those of convolutions and matrix products, forward and backward; a multiplication and an addition are two.

    Arguments:
        batch: Images of the steps that are counted.
    """
    run = config.resolve(settings)
    shape = (3, run.image_size, run.image_size)
    with torch.random.fork_rng(devices=[]):
        method = cast(Method, config.build("method", run.method, shape=shape))
        optimisers = make_optimisers(method, run.lr)

        def count(*players: str) -> int:
            method.get_submodule("generator").requires_grad_("generator" in players)
            with _Counter() as counter:
                step(method, Batch(torch.zeros(batch, *shape)), optimisers, players)
            return counter.total

        both = count("generator", "critic")
        n_dis = run.every.get("generator", 1)
        alone = count("critic") if n_dis > 1 else 0
    return (both + (n_dis - 1) * alone) / n_dis / batch


class _Counter(TorchDispatchMode):
    """Counts operations by torch's formulas; its own counter refuses gradients of single tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
