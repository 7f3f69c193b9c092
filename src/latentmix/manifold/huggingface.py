"""Manifold Mixup inside other people's training loops: Hugging Face's Trainer and timm's mixup function.

For Lightning see `manifold_lightning`. In every other loop, `ManifoldMixup` needs no adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup, MixedPass


class ManifoldMixupTrainer:
    """A mixin for Hugging Face's Trainer: ``class Mixing(ManifoldMixupTrainer, transformers.Trainer): ...``.

    The loss is computed outside the model: handed soft labels, a model would take the task for a multi-label
    one and train by another loss, silently. Each micro batch of a gradient accumulation has a draw of its
    own.

    Arguments:
        mixup: Made with the very model that the trainer gets.
        criterion: Loss of logits and "labels". Label smoothing belongs here.

    Raises:
        ValueError: Another model than `mixup` has, or the trainer's own label smoothing.
    """

    def __init__(
        self,
        *args: Any,
        mixup: ManifoldMixup,
        criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if mixup.model is not self.model:  # type: ignore[attr-defined]
            raise ValueError("mixup was made with another model than the trainer's")
        if self.args.label_smoothing_factor:  # type: ignore[attr-defined]
            raise ValueError(
                "put label smoothing into the criterion: nn.CrossEntropyLoss(label_smoothing=...)"
            )
        self.mixup, self.criterion = mixup, criterion
        self.mixed: MixedPass | None = None
        # Our loss is the mean over a micro batch; the trainer is to average over accumulated ones itself.
        self.model_accepts_loss_kwargs = False

    def training_step(self, model: Any, inputs: Mapping[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        model.train()
        try:
            with self.mixup(len(inputs["labels"])) as self.mixed:  # the backward pass included
                return super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        finally:
            self.mixed = None

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        if self.mixed is None:  # evaluation
            return super().compute_loss(model, inputs, return_outputs, **kwargs)  # type: ignore[misc]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]
        loss = self.mixed.loss(self.criterion, logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class TimmMixup:
    """In the place of timm's ``Mixup``: ``x, target = mixup_fn(x, y)``, then the model, then a soft-target
    loss.

    Images come back as they are: the next forward pass of the model mixes. Each call, and `close` at the end,
    checks that the one before was mixed exactly once. Unlike timm's, it takes odd batches.

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
            self._open = self.mixup(len(x)).__enter__()
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
