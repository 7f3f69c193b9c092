"""Mixup in GAN training: Manifold Mixup v1, table 6 and section 4.4. Choices only.

`FULL` are the published configurations, `SHORT` the same comparisons in a form that a processor can train.
Settings are those of a run (`latentmix train`), without data, seed and folder; published numbers are those of
the paper: inception score, its deviation over ten splits of 50,000 samples, and Frechet distance, each the
mean of three runs.
"""

from __future__ import annotations

from typing import Any

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
