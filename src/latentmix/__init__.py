"""Autoencoders whose mixed codes decode to realistic samples: train them, judge them, use the mixes.

    import latentmix as lm

    run = lm.train(method="amr", data="digits", epochs=5, out="runs/a")
    lm.evaluate(run, "probe", "knn.k=5")
    run.mix(["one.png", "two.png"])

The names here are looked up when they are first used, so that ``import latentmix`` imports nothing heavy.
Every method and mixer is here under the name of its class, and every metric under its own name, as a function
``metric(method, data, **options) -> Score``.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentmix.apps.augment.augment import augment as augment
    from latentmix.apps.augment.augment import fit_resample as fit_resample
    from latentmix.apps.score import score as score
    from latentmix.apps.study import evaluate as evaluate
    from latentmix.apps.study import load as load
    from latentmix.apps.study import report as report
    from latentmix.apps.study import train as train
    from latentmix.apps.trained import Trained as Trained
    from latentmix.data.split import Data as Data
    from latentmix.data.split import Split as Split
    from latentmix.manifold.manifold_mixup import ManifoldMixup as ManifoldMixup
    from latentmix.methods import Batch as Batch
    from latentmix.methods import Method as Method
    from latentmix.methods.acai import ACAI as ACAI
    from latentmix.methods.acai_amr import ACAIofAMR as ACAIofAMR
    from latentmix.methods.adversarial_autoencoder import AdversarialAutoencoder as AdversarialAutoencoder
    from latentmix.methods.ae_gan import AEGAN as AEGAN
    from latentmix.methods.amr import AMR as AMR
    from latentmix.methods.amr_classes import AMRClasses as AMRClasses
    from latentmix.methods.amr_labels import AMRLabels as AMRLabels
    from latentmix.methods.amr_learned import AMRLearned as AMRLearned
    from latentmix.methods.amr_pretrained import AMRPretrained as AMRPretrained
    from latentmix.methods.autoencoder import Autoencoder as Autoencoder
    from latentmix.methods.classifier import Classifier as Classifier
    from latentmix.methods.denoising import Denoising as Denoising
    from latentmix.methods.dropout import Dropout as Dropout
    from latentmix.methods.factor_mixing import FactorMixing as FactorMixing
    from latentmix.methods.gaia import GAIA as GAIA
    from latentmix.methods.gan import GAN as GAN
    from latentmix.methods.hidden_decoder import HiddenDecoder as HiddenDecoder
    from latentmix.methods.semi_supervised import SemiSupervised as SemiSupervised
    from latentmix.methods.vae import VAE as VAE
    from latentmix.methods.vq_vae import VQVAE as VQVAE
    from latentmix.metrics import Score as Score
    from latentmix.mixing.draws import Bernoulli as Bernoulli
    from latentmix.mixing.draws import Mix as Mix
    from latentmix.mixing.draws import Mixup as Mixup
    from latentmix.mixing.mixers import Folded as Folded
    from latentmix.mixing.mixers import Midpoint as Midpoint
    from latentmix.mixing.mixers import Region as Region
    from latentmix.mixing.mixers import Spherical as Spherical
    from latentmix.mixing.paths import crossover as crossover
    from latentmix.mixing.paths import lerp as lerp
    from latentmix.mixing.paths import simplex_grid as simplex_grid
    from latentmix.mixing.paths import slerp as slerp
    from latentmix.pictures import figures as figures
    from latentmix.reports.scores import Scores as Scores
    from latentmix.runs.opened import open_run as open_run
    from latentmix.training.step import make_optimisers as make_optimisers
    from latentmix.training.step import step as step


__version__ = "0.2.0"

_HOMES = {
    "apps.augment.augment": ("augment", "fit_resample"),
    "apps.score": ("score",),
    "apps.study": ("evaluate", "load", "report", "train"),
    "apps.trained": ("Trained",),
    "data": ("Data", "Split"),
    "manifold.manifold_mixup": ("ManifoldMixup",),
    "methods": ("Batch", "Method"),
    "methods.acai": ("ACAI",),
    "methods.acai_amr": ("ACAIofAMR",),
    "methods.adversarial_autoencoder": ("AdversarialAutoencoder",),
    "methods.ae_gan": ("AEGAN",),
    "methods.amr": ("AMR",),
    "methods.amr_classes": ("AMRClasses",),
    "methods.amr_labels": ("AMRLabels",),
    "methods.amr_learned": ("AMRLearned",),
    "methods.amr_pretrained": ("AMRPretrained",),
    "methods.autoencoder": ("Autoencoder",),
    "methods.classifier": ("Classifier",),
    "methods.denoising": ("Denoising",),
    "methods.dropout": ("Dropout",),
    "methods.factor_mixing": ("FactorMixing",),
    "methods.gaia": ("GAIA",),
    "methods.gan": ("GAN",),
    "methods.hidden_decoder": ("HiddenDecoder",),
    "methods.semi_supervised": ("SemiSupervised",),
    "methods.vae": ("VAE",),
    "methods.vq_vae": ("VQVAE",),
    "metrics": ("Score",),
    "mixing.draws": ("Bernoulli", "Mix", "Mixup"),
    "mixing.mixers": ("Folded", "Midpoint", "Region", "Spherical"),
    "mixing.paths": ("crossover", "lerp", "simplex_grid", "slerp"),
    "reports.scores": ("Scores",),
    "runs.opened": ("open_run",),
    "training.step": ("make_optimisers", "step"),
    "pictures": ("figures",),
}
_HOME = {name: (home, name) for home, names in _HOMES.items() for name in names}
_PACKAGES = ("data", "methods", "metrics", "mixing", "networks")
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"latentmix.{name}")
    if name in _HOME:
        home, own = _HOME[name]
        module = import_module(f"latentmix.{home}")
        return getattr(module, own) if hasattr(module, own) else import_module(f"latentmix.{home}.{own}")
    if name in _metrics():
        return import_module(f"latentmix.metrics.{name}").evaluate
    raise AttributeError(f"latentmix has no {name!r}")


def _metrics() -> set[str]:
    """The files of the folder are the metrics, but for the small fit that several of them share."""
    return {file.stem for file in (Path(__file__).parent / "metrics").glob("[a-z]*.py")} - {"fit"}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES, *_metrics()})
