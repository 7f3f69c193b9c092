"""What a training takes of the memory, estimated before it starts.

Linux grants memory that it does not have, and ends a process without a word when all of it is used. So a
training that cannot fit is refused.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from latentmix import memory
from latentmix.data import Split
from latentmix.methods import Batch, Method

FEW = 2  # images of the pass that is measured
# Times the pixels of a batch: hardly any method needs more, and none is measured that has it free.
USUAL = 2000
STATES = 3  # copies of the parameters that a training adds: the gradient and two moments of Adam


def check_memory(method: Method, split: Split, batch_size: int, seed: int = 0) -> None:
    """Refuse a batch whose training does not fit into the memory of the machine; GPUs refuse by themselves.

    The losses of a few images are computed by a copy of the method, and what autograd keeps of them is
    counted: it grows with the number of images.

    Raises:
        ValueError: Names the memory that is needed and the batch that would fit.
    """
    try:
        free = memory.free()
    except (OSError, KeyError):  # the system does not say
        return
    weights = sum(p.nbytes for p in method.parameters())
    pixels = batch_size * split.images[0].numel() * 4
    if split.images.device.type != "cpu" or max(USUAL * pixels, 16 * weights) < free:
        return
    each = _kept(
        method, split, min(len(split), max(FEW, getattr(getattr(method, "mixer", None), "k", 1))), seed
    )
    needed = STATES * weights + each * batch_size
    if each and needed > free:
        fits = int((0.8 * free - STATES * weights) / each)
        height, width = split.images.shape[2:]
        advice = f"batch_size={fits} would fit, and " if fits >= 2 else ""
        raise ValueError(
            f"batch_size={batch_size} of images of {width}x{height} pixels needs about "
            f"{needed / 1e9:,.0f} GB of memory, and {free / 1e9:,.1f} GB are free; {advice}a smaller "
            f"image_size or network needs less"
        )


def _kept(method: Method, split: Split, count: int, seed: int) -> float:
    """Bytes that autograd keeps for each image; 0 if the losses of a few images cannot be computed."""
    known = {t.untyped_storage().data_ptr() for t in (*method.parameters(), *method.buffers())}
    kept: dict[int, int] = {}

    def count_it(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    few = split.take(torch.arange(count))
    x = few.pixels().contiguous(memory_format=torch.channels_last)
    batch = Batch(
        x,
        few.labels,
        None if few.attributes is None else few.attributes.float(),
        torch.Generator().manual_seed(seed),
        x if method.trains_on == "both" else None,
        host=torch.Generator().manual_seed(seed),
        factors=few.factors,
    )
    with torch.random.fork_rng(devices=[]):
        try:
            other = copy.deepcopy(method).train()
            known |= {t.untyped_storage().data_ptr() for t in (*other.parameters(), *other.buffers())}
            with torch.autograd.graph.saved_tensors_hooks(count_it, lambda tensor: tensor):
                losses = next(iter(other.stages(batch)))  # alive, so that no storage is counted twice
        except MemoryError:
            raise
        except Exception:  # the first step will say what is wrong
            return 0.0
        del losses
    return sum(kept.values()) / count
