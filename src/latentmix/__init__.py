"""Autoencoders whose mixed codes decode to realistic samples: train them, judge them, use the mixes.

The names here are looked up when they are first used, so that ``import latentmix`` imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentmix.manifold.manifold_mixup import ManifoldMixup as ManifoldMixup
    from latentmix.methods import Batch as Batch
    from latentmix.methods import Method as Method
    from latentmix.methods.ae_gan import AEGAN as AEGAN
    from latentmix.methods.amr import AMR as AMR
    from latentmix.methods.autoencoder import Autoencoder as Autoencoder
    from latentmix.mixing.draws import Bernoulli as Bernoulli
    from latentmix.mixing.draws import Mix as Mix
    from latentmix.mixing.draws import Mixup as Mixup
    from latentmix.mixing.paths import crossover as crossover
    from latentmix.mixing.paths import lerp as lerp
    from latentmix.mixing.paths import simplex_grid as simplex_grid
    from latentmix.mixing.paths import slerp as slerp
    from latentmix.runs.folder import open_run as open_run
    from latentmix.training.step import make_optimisers as make_optimisers
    from latentmix.training.step import step as step

__version__ = "0.2.0"

_HOMES = {
    "manifold.manifold_mixup": ("ManifoldMixup",),
    "methods": ("Batch", "Method"),
    "methods.ae_gan": ("AEGAN",),
    "methods.amr": ("AMR",),
    "methods.autoencoder": ("Autoencoder",),
    "mixing.draws": ("Bernoulli", "Mix", "Mixup"),
    "mixing.paths": ("crossover", "lerp", "simplex_grid", "slerp"),
    "training.step": ("make_optimisers", "step"),
    "runs.folder": ("open_run",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"latentmix has no {name!r}")
    return getattr(import_module(f"latentmix.{_HOME[name]}"), name)
