"""Manifold Mixup inside Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.manifold.passes import ALONE, MixedPass


class ManifoldMixupTrainer:
    """A mixin for Hugging Face's Trainer: ``class Mixing(ManifoldMixupTrainer, transformers.Trainer): ...``.

    The loss is computed outside the model: handed soft labels, a model would take the task for a multi-label
    one and train by another loss, silently. Each micro batch of a gradient accumulation has a draw of its
    own; a batch of one, which may end an epoch, is left as it is.

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
            size = len(inputs["labels"])
            with self.mixup(size if size > 1 else ALONE) as self.mixed:  # the backward pass included
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
