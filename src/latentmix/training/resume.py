"""Saving and restoring what a run needs, besides its weights, to continue as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from latentmix import runs
from latentmix.config import Run
from latentmix.data import Data
from latentmix.methods import Method
from latentmix.runs import checkpoints
from latentmix.training.device import Runtime
from latentmix.training.eager import eager_optimisers
from latentmix.training.ranks import Ranks
from latentmix.training.streams import PASSES

NEEDED = {"state", "optimisers", "ranks", "device", "threads", "precision", "data", "total"}


@dataclass
class State:
    """The progress of a run: everything to be saved except weights, optimisers and generators."""

    step: int = 0
    seconds: float = 0.0
    best_epoch: int = -1
    best_value: float = float("-inf")
    log_position: int = 0
    first_losses: dict[str, float] = field(default_factory=dict)  # of each player


class Training(Protocol):
    """A training that can be stopped and continued."""

    run: Run
    data: Data
    runtime: Runtime
    ranks: Ranks
    folder: Path
    method: Method
    optimisers: dict[str, torch.optim.Optimizer]
    generator: torch.Generator
    state: State
    record: Any
    progress: Any
    total: int


def resume_state(training: Training) -> dict[str, Any]:
    """Gather everything except the weights from all ranks, as tensors, numbers, strings, lists and dicts."""
    state, device, method = training.state, training.runtime.device, training.method
    state.log_position = training.record.position()
    own = {
        "sums": {name: value.cpu() for name, value in training.record.sums.items()},
        "counts": dict(training.record.counts),
        "generator": training.generator.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
        # The statistics of normalisation layers, and averages of them, differ between ranks.
        "buffers": {k: v.cpu() for k, v in method.named_buffers()} if training.ranks.count > 1 else {},
    }
    with eager_optimisers():
        optimisers = {name: optimiser.state_dict() for name, optimiser in training.optimisers.items()}
    return {
        "state": dict(vars(state)),
        "optimisers": optimisers,
        "ranks": training.ranks.gather(own),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "precision": training.runtime.precision,
        "data": training.data.fingerprint,
        "total": training.total,
    }


def restore(training: Training) -> bool:
    """Restore the training from the last good checkpoint; return False if there is none.

    Raises:
        RunError: The data or the number of ranks have changed, or the length of the training has changed and
            its method or schedule depends on it.
    """
    loaded = checkpoints.load(training.folder, warn=training.progress.say)
    if loaded is None:
        return False
    weights, resume = loaded.weights, loaded.resume
    folder, ranks = training.folder, training.ranks
    if resume is not None and (lacking := sorted(NEEDED - resume.keys())):
        raise runs.RunError(
            f"{folder} cannot be continued by this version of latentmix: its checkpoint lacks "
            f"{', '.join(lacking)}; choose another out=FOLDER"
        )
    if resume is None or resume["data"] != training.data.fingerprint:
        raise runs.RunError(f"the data have changed since {folder} was started; choose another out=FOLDER")
    if len(resume["ranks"]) != ranks.count:
        raise runs.RunError(
            f"{folder} was started by {len(resume['ranks'])} ranks and cannot be continued by {ranks.count}; "
            f"start the same number with torchrun --nproc-per-node {len(resume['ranks'])}"
        )
    paced = training.method.paced or training.run.schedule != "constant"
    if paced and resume["total"] != training.total:
        raise runs.RunError(
            f"{folder} was started for {resume['total']} steps, and its learning rates or losses depend on "
            f"the share that is done: it cannot be trained for {training.total} steps; "
            "choose another out=FOLDER"
        )
    if resume["precision"] != training.runtime.precision:
        training.progress.say(
            f"{folder} goes on in precision={resume['precision']}, with which it was started"
        )
        training.runtime.precision = resume["precision"]
    checkpoints.fill(training.method, weights, folder)
    with eager_optimisers():
        for name, optimiser in training.optimisers.items():
            optimiser.load_state_dict(resume["optimisers"][name])
    own = resume["ranks"][ranks.rank]
    buffers = dict(training.method.named_buffers())
    for name, value in own["buffers"].items():
        buffers[name].copy_(value)
    device = training.runtime.device
    training.state.__dict__.update(resume["state"])
    training.record.sums.update({name: value.to(device) for name, value in own["sums"].items()})
    training.record.counts.update(own["counts"])
    _restore_generators(training, resume, own)
    return True


def _restore_generators(training: Training, resume: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Restore the random generators; on another kind of device, seed them anew."""
    device, threads, folder = training.runtime.device, torch.get_num_threads(), training.folder
    if resume["device"] != device.type:
        # The new seed depends on seed and step alone; it is negative, so that no epoch's order has the same.
        seed = -1 - (training.run.seed * PASSES + training.state.step)
        torch.manual_seed(seed)
        training.generator.manual_seed(seed)
        training.progress.say(
            f"{folder} was trained on {resume['device']} so far: on {device.type} it continues with other "
            f"random numbers, not bit for bit"
        )
        return
    training.generator.set_state(own["generator"])
    torch.set_rng_state(own["torch"])
    if own["cuda"]:
        torch.cuda.set_rng_state(own["cuda"][0], device)
    if device.type == "cpu" and resume["threads"] != threads:
        training.progress.say(
            f"{folder} was trained with threads={resume['threads']} so far: with {threads} it continues as "
            f"well, but perhaps not bit for bit"
        )
