"""Which layers of a network can be mixed: found by name, by pattern, or by running it and looking."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latentmix.manifold.inspection import Trial
from latentmix.manifold.training_mode import passed_in_training, shuffled_in_training
from latentmix.manifold.trial_run import INPUT as INPUT
from latentmix.manifold.trial_run import Inputs, undisturbed


def find_layers(
    model: nn.Module, layers: Sequence[str] | str, example: Any = None, batch_dim: int = 0
) -> list[str]:
    """Turn names, a regular expression or "auto" into names of layers.

    Raises:
        ValueError: Nothing found, a name twice or of a module that has another name among them.
    """
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    known = [INPUT, *modules]
    if layers == "auto":
        return _whole_blocks(model, example, batch_dim)
    if isinstance(layers, str):
        try:
            pattern = re.compile(layers)
        except re.error as error:
            raise ValueError(f"layers={layers!r} is no regular expression: {error}") from error
        distinct = {INPUT, *(name for name, _ in model.named_modules())}
        found = [name for name in known if name in distinct and pattern.fullmatch(name)]
        if not found:
            raise ValueError(f"no layer matches {layers!r}; {_nearest(layers, known)}")
        return _unambiguous(found, modules)
    if not layers:
        raise ValueError("layers is empty: name at least one")
    seen: dict[Any, str] = {}
    for name in layers:
        if name not in known:
            raise ValueError(f"no layer is called {name!r}; {_nearest(name, known)}")
        if (same := seen.setdefault(modules.get(name, INPUT), name)) != name or layers.count(name) > 1:
            raise ValueError(f"{name!r} and {same!r} are one and the same layer; name it once")
    return _unambiguous(list(layers), modules)


def probabilities(probs: Sequence[float] | None, layers: Sequence[str]) -> Tensor:
    """One probability for each layer, summing to one; uniform if None.

    Raises:
        ValueError: Not one finite number, 0 or more, for each layer.
    """
    given = [1.0] * len(layers) if probs is None else list(probs)
    p = torch.tensor(given, dtype=torch.float32, device="cpu")  # whatever the default device, as all draws
    if len(p) != len(layers) or (p < 0).any() or not p.sum() > 0 or not p.isfinite().all():
        raise ValueError(f"layer_probs={probs}: need one number, 0 or more, for each of {', '.join(layers)}")
    return p / p.sum()


def _whole_blocks(model: nn.Module, example: Any, dim: int) -> list[str]:
    """The blocks of the deepest stack that are whole and run once, without the last of them.

    Behind the last block there is little left to learn from a mix; the paper, too, leaves it out. The deepest
    stack is the one that contains most modules with weights, of several the outermost. It must contain half
    of the network's, or it is no stack of its blocks: a stem and a neck of one kind, say.
    """
    depth = sum(map(_has_weights, model.modules()))
    stacks = sorted(_stacks(model), key=lambda names: -_depth(model, names))
    stacks = [names for names in stacks if 2 * _depth(model, names) >= depth]
    for inputs in _examples(model, example, dim):
        with undisturbed(model):
            try:
                watched = [name for stack in stacks for name in stack]
                trial = Trial(model, watched, inputs, dict.fromkeys(watched, dim), list(range(inputs.size)))
            except Exception as error:  # an input of our own guess that does not fit
                if example is not None:
                    raise ValueError(
                        "layers='auto' runs the network on samples of the example, in another order and "
                        f"number, and it fails ({type(error).__name__}: {error}): give another example, or "
                        "name layers"
                    ) from error
                continue
            if not trial.apart > 0:
                raise ValueError(
                    "layers='auto' sees nothing, since the network gives the same answer for all samples "
                    "(does its last layer start at zero, or are the samples equal?): name layers"
                )
            if not trial.follows:
                raise ValueError(
                    f"layers='auto' finds no output that follows the samples along dimension {dim} of the "
                    "input when they are put into another order: give batch_dim"
                )
            for stack in stacks:
                whole = [name for name in stack if _can_be_mixed(trial, name)]
                if len(whole) > 1:
                    out = shuffled_in_training(model, whole, inputs, dict.fromkeys(whole, dim))
                    out += passed_in_training(model, whole, inputs)
                    whole = [name for name in whole if name not in out]
                if len(whole) > 1:
                    return whole[:-1]
        raise ValueError(
            "layers='auto' finds no stack of blocks that pass on all that later layers see and hold the "
            f"batch in dimension {dim}: name layers"
        )
    raise ValueError("layers='auto' must run the network and has no input that fits: give one, example=x")


def _can_be_mixed(trial: Trial, name: str) -> bool:
    try:
        trial.check_batch(name)
    except (ValueError, RuntimeError):  # the latter of states that `torch.vmap` does not give away
        return False
    masks = [t for _, t in trial.here.masks()]  # these are merged by `masks`, or the first pass warns of them
    return bool(trial.whole(name, besides=masks) and trial.matters(name))


def _stacks(model: nn.Module) -> list[list[str]]:
    """Siblings of one kind that have parts of their own, the outermost first."""
    stacks = []
    for parent_name, parent in model.named_modules():
        kinds: dict[Any, list[str]] = {}
        for name, child in parent.named_children():
            if any(True for _ in child.children()):
                kinds.setdefault(_kind(child), []).append(f"{parent_name}.{name}" if parent_name else name)
        stacks += [names for names in kinds.values() if len(names) > 1]
    return sorted(stacks, key=lambda names: names[0].count("."))


def _kind(module: nn.Module) -> Any:
    """A block's type; of a container, which says nothing of its own, the types that it contains."""
    if type(module) in (nn.Sequential, nn.ModuleList):
        return frozenset(map(_kind, module.children()))
    return type(module)


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _depth(model: nn.Module, names: Sequence[str]) -> int:
    """How many modules with weights some layers contain."""
    return sum(_has_weights(part) for name in names for part in model.get_submodule(name).modules())


def inputs_of(example: Any, dim: int) -> Inputs:
    """What `example` says that a network is called with: an input, or a tuple or dictionary of inputs."""
    if isinstance(example, Mapping):
        return Inputs.of((), example, dim)
    return Inputs.of(example if isinstance(example, tuple) else (example,), {}, dim)


def _examples(model: nn.Module, example: Any, dim: int) -> Iterator[Inputs]:
    if example is not None:
        yield inputs_of(example, dim)
    elif dim == 0:
        generator = torch.Generator("cpu").manual_seed(0)
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, nn.Embedding):
                tokens = torch.randint(module.num_embeddings, (2, 8), generator=generator, device="cpu")
                yield Inputs.of((tokens.to(module.weight.device),), {}, dim)
                return
            if isinstance(weight, Tensor) and isinstance(module, nn.Conv2d | nn.Linear):
                sizes = [(s, s) for s in (32, 28, 64, 224)] if isinstance(module, nn.Conv2d) else [()]
                channels = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
                for size in sizes:
                    x = torch.randn(2, channels, *size, generator=generator, device="cpu")
                    yield Inputs.of((x.to(weight),), {}, dim)
                return


def _unambiguous(found: list[str], modules: Mapping[str, nn.Module]) -> list[str]:
    if INPUT in found and INPUT in modules:
        raise ValueError(
            "a module of this network is called 'input' too: rename it, or name what it contains"
        )
    return found


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or list(known[:8])
    return f"the nearest are {', '.join(near)}"
