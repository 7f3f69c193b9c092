"""Manifold Mixup for any network and any training loop."""

from latentmix.manifold.manifold_mixup import ManifoldMixup as ManifoldMixup
from latentmix.manifold.manifold_mixup import MixedPass as MixedPass
