"""Labels and losses of a mixed batch: partners' labels, and averages as the criterion itself takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.mixing.draws import sent

Criterion = Callable[[Any, Any], Tensor]


def take(y: Any, rows: Tensor) -> Any:
    """Labels of other samples: a tensor with the batch in front, or a dictionary, tuple or list of them.

    Raises:
        ValueError: Labels that are not the batch's.
    """
    if isinstance(y, Mapping):
        return {key: take(value, rows) for key, value in y.items()}
    if isinstance(y, tuple) and hasattr(y, "_fields"):
        return type(y)(*(take(value, rows) for value in y))
    if isinstance(y, list) and any(isinstance(value, Mapping) for value in y):
        raise ValueError(
            "labels are a list of dictionaries, which looks like one for each sample, as of objects in an "
            "image: give one dictionary of tensors with the batch in front, or mix labels by `m.perm` and "
            "`m.lam`"
        )
    if isinstance(y, tuple | list):
        return type(y)(take(value, rows) for value in y)
    if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != len(rows):
        what = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"type {type(y).__name__}"
        raise ValueError(f"labels of {what} for a batch of {len(rows)}, which must be their first dimension")
    return y[sent(rows, y.device)]


def check_target(y: Any, num_classes: int | None) -> None:
    """Refuse labels of which it is not clear whether they are class indices, or of how many classes.

    Raises:
        ValueError: As `MixedPass.target`.
    """
    if not isinstance(y, Tensor):
        raise ValueError(f"labels of type {type(y).__name__}: give a tensor")
    real = y.is_floating_point() or y.dtype == torch.bool
    if num_classes is None and not real and y.ndim <= 2 and y.shape[1:] in ((), (1,)):
        raise ValueError("class indices need num_classes; real targets must be floating point, y.float()")
    if num_classes is not None and real and y.shape[1:2] != (num_classes,):
        raise ValueError(
            f"labels of {str(y.dtype).removeprefix('torch.')} {tuple(y.shape)} are mixed as they are, and "
            f"have not num_classes={num_classes} columns: give class indices as integers, y.long(), or leave "
            "out num_classes"
        )


def mixed_loss(
    criterion: Criterion, output: Any, y: Any, partners: Tensor, shares: Sequence[Tensor]
) -> Tensor:
    """sum_j a_j criterion(output, y[partners_j]), averaged as the criterion itself would average.

    Arguments:
        shares: a_j, one for each parent: single numbers, or (B,).

    Raises:
        ValueError: As `MixedPass.loss`.
    """
    labels = [y, *(take(y, rows) for rows in partners[1:])]
    losses = [_call(criterion, output, some) for some in labels]
    batch, per_sample = partners.shape[1], shares[0].ndim == 1
    if per_sample and losses[0].ndim == 0:
        raise ValueError(
            "weights that differ between samples weigh every sample's own loss, but the criterion returned "
            "one number; give it reduction='none', or use `target` and a loss that takes soft labels"
        )
    if per_sample and losses[0].shape[0] != batch:
        raise ValueError(
            f"the criterion returned {tuple(losses[0].shape)} for a batch of {batch}: weights that differ "
            "between samples need its losses with the batch in front, not flattened"
        )
    _refuse_broadcast(output, y, losses[0])
    weighted = [_column(a, loss) * loss for a, loss in zip(shares, losses)]
    if not _counts_labels(y, losses[0]):
        return sum(weighted[1:], weighted[0]).mean()
    terms = [
        w.sum() / _count(criterion, output, some, loss) for w, some, loss in zip(weighted, labels, losses)
    ]
    return sum(terms[1:], terms[0])


def _refuse_broadcast(output: Any, y: Any, loss: Tensor) -> None:
    """Refuse a loss of every output with every label, as (B, 1) and (B,) have."""
    if isinstance(output, Tensor) and isinstance(y, Tensor) and output.shape != y.shape and loss.ndim:
        try:
            both = torch.broadcast_shapes(output.shape, y.shape)
        except RuntimeError:
            return
        if loss.shape == both and loss.numel() > max(output.numel(), y.numel()):
            raise ValueError(
                f"the criterion compared every output, {tuple(output.shape)}, with every label, "
                f"{tuple(y.shape)}: give both one shape"
            )


def accuracy(output: Tensor, y: Tensor, partners: Tensor, shares: Sequence[Tensor]) -> Tensor:
    """sum_j a_j [argmax of the output = y[partners_j]], averaged: a share of 1."""
    guess = output.argmax(1)
    if guess.shape != y.shape:
        raise ValueError(
            f"outputs of shape {tuple(output.shape)} name classes of shape {tuple(guess.shape)}, but the "
            f"labels have {tuple(y.shape)}"
        )
    right = [(guess == take(y, rows)).to(torch.float32) for rows in partners]
    return sum(
        (_column(a, r) * r for a, r in zip(shares, right)), torch.zeros((), device=guess.device)
    ).mean()


def _column(a: Tensor, loss: Tensor) -> Tensor:
    a = sent(a, loss.device)
    return a.reshape(-1, *[1] * (loss.ndim - 1)) if a.ndim else a


def _counts_labels(y: Any, loss: Tensor) -> bool:
    """Whether these are losses of class indices, one for each."""
    indices = isinstance(y, Tensor) and not y.is_floating_point() and y.dtype != torch.bool
    return indices and loss.ndim > 0 and loss.shape == y.shape


def _count(criterion: Criterion, output: Any, y: Tensor, loss: Tensor) -> Tensor:
    """By what the criterion's own mean divides the sum of these losses.

    Ignored labels do not count, and classes count by their weights. Both are read from PyTorch's
    cross-entropies; any other function ignored a label if that is no class and has a loss of exactly zero.
    """
    options = _options(criterion)
    if options is None:
        classes = output.shape[1] if isinstance(output, Tensor) and output.ndim > 1 else None
        outside = y < 0 if classes is None else (y < 0) | (y >= classes)
        return (~(outside & (loss == 0))).sum()
    ignored = y == options.get("ignore_index", -100)
    weight = options.get("weight")
    if weight is None:
        return (~ignored).sum()
    return torch.where(ignored, 0, weight[torch.where(ignored, 0, y).long()]).sum()


def _options(criterion: Criterion) -> dict[str, Any] | None:
    """Settings of a cross-entropy of class indices, as a module or a partial function; None for others."""
    if isinstance(criterion, nn.CrossEntropyLoss | nn.NLLLoss):
        return {"ignore_index": criterion.ignore_index, "weight": criterion.weight}
    if criterion in (F.cross_entropy, F.nll_loss):
        return {}
    if isinstance(criterion, partial) and criterion.func in (F.cross_entropy, F.nll_loss):
        return dict(criterion.keywords)
    return None


def _call(criterion: Criterion, output: Any, y: Any) -> Tensor:
    try:
        return criterion(output, y)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        described = (
            f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}"
            if isinstance(t, Tensor)
            else type(t).__name__
            for t in (output, y)
        )
        raise ValueError(
            "the criterion refuses outputs {} with labels {}".format(*described) + f": {error}"
        ) from error
