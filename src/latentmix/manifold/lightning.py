"""Manifold Mixup as a Lightning callback. Imports Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback

from latentmix.manifold.hooks import tensors
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.manifold.passes import ALONE, MixedPass


class ManifoldMixupCallback(Callback):
    """Gives every training step its mixed forward pass as ``self.mix``.

    In the module: ``loss = self.mix.loss(F.cross_entropy, self.model(x), y)``. The pass is open from the
    start of the training batch to its end, backward pass included, and ends with the check that it mixed
    exactly once. A batch of one, which may end an epoch, is left as it is.

    Arguments:
        network: Name of the module's attribute that is the network; "" for the module itself.
        layers, generator, options: As for `ManifoldMixup`. The state of the generator goes into checkpoints.
    """

    def __init__(
        self,
        network: str = "model",
        layers: Sequence[str] | str = "auto",
        *,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        self.network, self.layers, self.generator, self.options = network, layers, generator, options
        self.mixup: ManifoldMixup | None = None
        self._open: MixedPass | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        # Now the network exists, and no strategy has wrapped it yet.
        network = pl_module.get_submodule(self.network)
        self.mixup = ManifoldMixup(network, self.layers, generator=self.generator, **self.options)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        assert self.mixup is not None
        size = len(next(tensors(batch)))
        pl_module.mix = self._open = self.mixup(size if size > 1 else ALONE).__enter__()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._close(None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._close(type(exception))
        self._remove()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._remove()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.generator is None else {"generator": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.generator is not None and "generator" in state_dict:
            self.generator.set_state(state_dict["generator"])

    def _close(self, error: type[BaseException] | None) -> None:
        m, self._open = self._open, None
        if m is not None:
            m.__exit__(error)

    def _remove(self) -> None:
        if self.mixup is not None:
            self.mixup.remove()
