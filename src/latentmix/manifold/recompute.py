"""Which forward pass a backward pass differentiates, for layers that activation checkpointing runs again.

A layer that runs again must repeat the draw of its own forward pass, or gradients are wrong without a word.
Autograd numbers its nodes in the order of their creation. So it is enough to note the number at which each
mixed pass begins and ends: the node that is differentiated when a layer runs again tells to which pass it
belongs, whatever the network returned and whatever the loss was computed from.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, TypeVar

import torch

P = TypeVar("P")
KEPT = 128  # beginnings and ends: 64 mixed passes between a forward pass and its backward pass


class Journal(Generic[P]):
    """Notes where passes begin and end, and finds the pass of the node that is being differentiated."""

    def __init__(self) -> None:
        self._numbers: list[int] = [-1]
        self._passes: list[P | None] = [None]
        self._task: int | None = None
        self._found: P | None = None

    def note(self, current: P | None) -> None:
        """What is computed from here on belongs to this pass, or to none."""
        self._forget()  # also after a backward pass that was broken off
        self._numbers.append(torch._C._autograd._get_sequence_nr())
        self._passes.append(current)
        del self._numbers[:-KEPT], self._passes[:-KEPT]

    def recomputed(self) -> P | None:
        """The pass that a layer belongs to which runs again in the backward pass; None if it was not mixed.

        Raises:
            RuntimeError: It lies further back than what is kept.
        """
        task = torch._C._current_graph_task_id()
        if self._task is not None and task != self._task:
            # A backward pass within a backward pass: nested checkpoints of the older kind. The graph that it
            # differentiates was built while the outer one ran layers again.
            return self._found
        if self._task is None:
            self._task = task
            torch.autograd.Variable._execution_engine.queue_callback(self._forget)  # at the end of it
        self._found = self.made(torch._C._current_autograd_node())
        return self._found

    def made(self, node: torch.autograd.graph.Node) -> P | None:
        """The pass in which a node was created; None if in none.

        Raises:
            RuntimeError: It lies further back than what is kept.
        """
        place = bisect_right(self._numbers, node._sequence_nr()) - 1
        if place < 0:
            raise RuntimeError(
                f"this belongs to a forward pass that lies more than {KEPT // 2} mixed passes back, which is "
                "further than activation checkpointing can be followed: call backward() earlier"
            )
        return self._passes[place]

    def _forget(self) -> None:
        self._task = self._found = None
