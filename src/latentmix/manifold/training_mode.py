"""What passes a layer by in training mode only, such as an auxiliary head in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from latentmix.manifold.trial_run import INPUT, Inputs, distance, length, run, undisturbed, without_zeros


def passed_in_training(model: nn.Module, layers: Sequence[str], inputs: Inputs) -> list[str]:
    """Layers by which the outputs of training mode depend on the input in another way too.

    As in evaluation mode, a layer's output is held while the samples change places; dropout falls alike. Only
    outputs with the batch in front count, not a loss that the network adds up itself. A network that does not
    run in training mode on these samples, or not twice alike, shows nothing.

    Arguments:
        inputs: Samples of which at least two differ.
    """
    n = inputs.size
    masks = {id(t) for _, t in inputs.masks()}  # seen in evaluation mode already
    moved = inputs.rows([n - 1, *range(n - 1)], keep=lambda t: id(t) in masks)
    filled = without_zeros(model)

    def outputs(
        inputs: Inputs, forced: str | None = None, state: Tensor | None = None
    ) -> tuple[list[Tensor], Mapping[str, list[Tensor | None]]]:
        buffers = {name: t.clone() for name, t in model.named_buffers()}  # norms move their statistics
        found, held = run(model, layers, buffers | filled, inputs, forced, state)
        return [t for t in found if n in (length(t, 0), length(t, inputs.dim))], held

    try:
        with undisturbed(model, training=True):
            plain, held = outputs(inputs)
            if not plain or distance(plain, outputs(inputs)[0]) > 0:
                return []
            apart = distance(plain, outputs(moved)[0])
            scale = max(float(t.abs().max()) for t in plain)
            eps = max(torch.finfo(t.dtype).eps for t in plain)
            allowed = max(1e-5 * apart, 4 * eps * scale)
            return [
                name
                for name in layers
                if name != INPUT
                and len(held[name]) == 1
                and distance(plain, outputs(moved, name, held[name][0])[0]) > allowed
            ]
    except Exception:
        return []
