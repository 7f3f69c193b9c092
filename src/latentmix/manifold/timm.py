"""Manifold Mixup in the place of timm's mixup function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.manifold.passes import ALONE, MixedPass


class TimmMixup:
    """In the place of timm's ``Mixup``: ``x, target = mixup_fn(x, y)``, then the model, then a soft-target
    loss.

    Images come back as they are: the next forward pass of the model mixes. Each call, and `close` at the end,
    checks that the one before was mixed exactly once. Unlike timm's, it takes odd batches, and leaves a batch
    of one as it is.

    Arguments:
        mixup: Made with the model that is trained.
        num_classes: Width of the soft targets.
        label_smoothing: Share of the target that is spread over all classes.

    Attributes:
        mixup_enabled: Whether to mix, which timm's scripts switch off for the last epochs.
    """

    def __init__(self, mixup: ManifoldMixup, num_classes: int, label_smoothing: float = 0.0) -> None:
        self.mixup, self.num_classes, self.label_smoothing = mixup, num_classes, label_smoothing
        self.mixup_enabled = True
        self._open: MixedPass | None = None

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Open a mixed forward pass for images (B, ...); targets for labels (B,) are (B, num_classes)."""
        self.close()
        if self.mixup_enabled:
            self._open = self.mixup(len(x) if len(x) > 1 else ALONE).__enter__()
            target = self._open.target(y, self.num_classes)
        else:
            target = F.one_hot(y, self.num_classes).to(torch.get_default_dtype())
        return x, (1 - self.label_smoothing) * target + self.label_smoothing / self.num_classes

    def close(self) -> None:
        """End the open forward pass.

        Raises:
            RuntimeError: It was not mixed exactly once.
        """
        m, self._open = self._open, None
        if m is not None:
            m.__exit__(None)
