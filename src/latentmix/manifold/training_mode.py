"""What training mode adds: auxiliary heads, branches, and batches that are shuffled inside the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from latentmix.manifold.trial_run import (
    INPUT,
    Inputs,
    distance,
    follows,
    length,
    run,
    undisturbed,
    without_zeros,
)


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
        found, held = run(model, layers, filled, inputs, forced, state)
        return [t for t in found if n in t.shape], held

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
                and held[name][0] is not None
                and distance(plain, outputs(moved, name, held[name][0])[0]) > allowed
            ]
    except Exception:
        return []


def shuffled_in_training(
    model: nn.Module, layers: Sequence[str], inputs: Inputs, dims: Mapping[str, int]
) -> list[str]:
    """Layers that hold the samples in another order in training mode, though the outputs do not.

    Modules without parts, such as dropout and norms, are left in evaluation mode, for their states do not
    follow the samples. A network that is random or does not run then shows nothing.

    Arguments:
        inputs: Samples of which at least two differ.
        dims: The layers' batch dimensions, 0 where it is not given.
    """
    n = inputs.size
    order = [n - 1, *range(n - 1)]
    filled = without_zeros(model)
    try:
        with undisturbed(model, training=True):
            for module in model.modules():
                if not any(True for _ in module.children()):
                    module.training = False
            plain, held = run(model, layers, filled, inputs)
            again, _ = run(model, layers, filled, inputs, seed=1)
            moved, held_moved = run(model, layers, filled, inputs.rows(order))
    except Exception:
        return []
    if not distance(plain, moved) > 0 or distance(plain, again) > 1e-3 * distance(plain, moved):
        return []
    found = []
    for name in (name for name in layers if name != INPUT and len(held[name]) == len(held_moved[name]) == 1):
        h, other, dim = held[name][0], held_moved[name][0], dims.get(name, 0)
        if h is None or other is None or not length(h, dim) == length(other, dim) == n:
            continue
        if not follows(h, other, dim, order, 1e-3):
            found.append(name)
    return found
