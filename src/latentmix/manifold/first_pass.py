"""What is examined before the first mixed pass of a network, and what is said about it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from latentmix.manifold.hooks import first_real
from latentmix.manifold.inspection import Trial, Unfit
from latentmix.manifold.training_mode import passed_in_training, shuffled_in_training
from latentmix.manifold.trial_run import INPUT, Inputs, undisturbed


def examine(
    model: nn.Module,
    layers: Sequence[str],
    inputs: Inputs,
    dims: Mapping[str, int],
    most: int | None,
    masks: Mapping[str, Any],
) -> bool:
    """Refuse layers that cannot be mixed, and warn of those that something passes by.

    Arguments:
        inputs: What the model is called with.
        dims: The layers' batch dimensions.
        most: Number of samples to run; all if None.
        masks: Names of arguments that are merged, and so may pass layers by.

    Returns:
        Whether there was anything to see.

    Raises:
        ValueError: A layer, or the input, whose batch dimension is not the batch; a layer on which no output
            depends; integers beside a mixed input that change the outputs, such as tokens.
    """
    size = inputs.size
    if INPUT in layers and first_real((inputs.args, dict(inputs.kwargs))) is None:
        raise Unfit(
            "layer 'input' holds no tensor of real numbers; where it holds tokens or class indices, mix "
            "their embedding"
        )
    rows = list(range(size))
    if most is not None:
        # Another number of samples than the batch, lest another dimension of that length be taken for it.
        rows = [0, 1, 0, 1] if size == 2 else rows[: min(most, size - 1)]
    if size < 2:
        return False
    try:
        with undisturbed(model):
            trial = Trial(model, layers, inputs, dims, rows)
            conclusive, passed, notes = _examine(trial, inputs, masks)
        if conclusive:
            for name in shuffled_in_training(model, layers, trial.here, dims):
                raise Unfit(
                    f"layer {name!r} holds the samples in another order in training mode: the network "
                    "shuffles its batch, and labels would be those of others. Name a layer in front of the "
                    "shuffling or behind it"
                )
            others = [name for name in layers if name not in passed]
            notes += map(_in_training, passed_in_training(model, others, trial.here))
    except Unfit:
        raise
    except Exception as error:
        conclusive = True
        notes = [
            f"layers {', '.join(layers)} are mixed unexamined, since the network does not run on {len(rows)} "
            f"of the {size} samples in evaluation mode ({type(error).__name__}: {error}): run `eligible(x)` "
            "on inputs that it takes, or give check=False"
        ]
    if INPUT in layers and conclusive:
        notes += [
            f"layer 'input' leaves {entry} unmixed: its batch is not in dimension {inputs.dim}, if it has one"
            for entry in inputs.turned()
        ]
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return conclusive


def _examine(trial: Trial, inputs: Inputs, masks: Mapping[str, Any]) -> tuple[bool, list[str], list[str]]:
    """Whether there was anything to see, which layers are passed by, and what to warn of."""
    if not trial.apart > 0:
        return False, [], []
    reached = [name for name in trial.layers if name == INPUT or len(trial.held[name]) == 1]
    for name in reached:
        if name != INPUT:
            trial.check_batch(name)
    if not trial.follows and not trial.random:
        raise Unfit(
            f"no output follows the samples when the input is put into another order along dimension "
            f"{inputs.dim}, so that is not the batch; layers {', '.join(trial.layers)} would mix something "
            "else. Give batch_dim, or check=False"
        )
    for name in reached:
        if not trial.matters(name):
            raise Unfit(
                f"mixing layer {name!r} changes nothing: the network's outputs do not depend on the "
                "tensor that it holds (the first one, of several), while labels would be mixed. Name a "
                "layer behind it, or give check=False"
            )
    # A loss that the network computes itself depends on labels, and shows nothing.
    passed = [] if trial.only_numbers else [name for name in reached if not trial.whole(name)]
    notes = [_passed_by(name, trial, inputs, masks) for name in passed]
    if not masks and not trial.only_numbers:
        entries = [entry for entry, _ in inputs.masks()]
        for name in (name for name in reached if name not in passed):
            seen = (entry for entry, (_, t) in zip(entries, trial.here.masks()) if not trial.blind(name, t))
            notes += [_alike(name, entry) for entry in [*seen][:1]]
    if not trial.random and not trial.independent():
        notes.append(
            f"a sample's outputs depend on other samples in dimension {inputs.dim} of the input, also in "
            "evaluation mode: is that the batch? If not, give batch_dim"
        )
    return True, passed, [note for note in notes if note]


def _passed_by(name: str, trial: Trial, inputs: Inputs, masks: Mapping[str, Any]) -> str:
    """Say what passes a layer by: an input that cannot be mixed, or another path through the network."""
    entries = [entry for entry, _ in inputs.fixed()]  # these have the shapes of the batch
    beside = [entry for entry, (_, t) in zip(entries, trial.here.fixed()) if trial.whole(name, besides=[t])]
    if name == INPUT:
        rest = [entry for entry in beside or entries if entry.split()[0] not in masks]
        left = "; ".join(rest)
        if any(map(_is_sequence, rest)):
            raise Unfit(
                f"layer 'input' cannot mix {left}, which changes the outputs: these are integers. Of tokens, "
                "mix the embedding instead; of a padding mask, give masks=; or give check=False"
            )
        if not rest:
            return ""
        return _left(name, left)
    if not beside:
        return (
            f"layer {name!r} is passed by: with its output held, the network's outputs still change with the "
            "input, over a skip connection or another branch. Labels are mixed as if nothing passed. Name "
            "the output of the whole block"
        )
    if masks:
        return ""
    return _left(name, beside[0])


def _left(name: str, entry: str) -> str:
    """Say which input stays that of the sample itself."""
    if name == INPUT:
        return f"layer 'input' leaves {entry} unmixed, and the outputs depend on it"
    return (
        f"layer {name!r} is passed by {entry}, which stays that of the sample itself. If it is a padding "
        "mask, give masks="
    )


def _alike(name: str, entry: str) -> str:
    """Say that a mask passes a layer by, which shows nothing on these samples."""
    return (
        f"layer {name!r} is passed by {entry}, the same for these samples. Where samples are padded "
        "differently, each would keep its own mask: give masks="
    )


def _in_training(name: str) -> str:
    """Say that something passes a layer by which evaluation mode does not have."""
    return (
        f"layer {name!r} is passed by in training mode: with its output held, the outputs still change with "
        "the input, over an auxiliary head or a branch that evaluation mode leaves out. Labels are mixed as "
        "if nothing passed. Name a layer in front of it"
    )


def _is_sequence(entry: str) -> bool:
    """Whether "name type (4, 7)" has more than one number for a sample, and is no mask of booleans."""
    return "," in entry.partition("(")[2].rstrip(",)") and " bool " not in entry
