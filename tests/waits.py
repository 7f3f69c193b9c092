"""Finds what would make the host wait for a GPU, without a GPU.

Tensors "on the device" are on PyTorch's meta device, which has kernels, gradients and optimisers but no
values: whoever reads a number fails there by itself (`item`, `bool`, `nonzero`, indexing by a mask). What
does not fail, and on a CUDA device still waits, is refused by `Waits`: copies that are not `non_blocking`,
tensors made of numbers on the device, and kernels that copy an argument from the host themselves. Fake CUDA
tensors would be nearer to the truth, but have no gradients where PyTorch is built without CUDA.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
MADE = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}
# A number in memory of the host is passed by value to most kernels; these copy it, or their indices.
COPYING = {torch.ops.aten.where, torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_}


class Waited(AssertionError):
    """Something would have made the host wait."""


class Waits(TorchDispatchMode):
    """Raises `Waited` where the host would wait; counts the copies to the device that do not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.copies, self._numbers = 0, _Numbers()

    def __enter__(self) -> Waits:
        self._numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._numbers.__exit__(*error)

    def __torch_dispatch__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        here, there = (any(t.is_meta is meta for t in tensors) for meta in (False, True))
        if f.overloadpacket in COPYING and here and there:
            raise Waited(f"{f} copies an argument to the device")
        if f.overloadpacket is torch.ops.aten._to_copy:
            self._copied(args[0].device, torch.device(kwargs.get("device") or args[0].device), kwargs)
        if f.overloadpacket is torch.ops.aten.copy_:
            late = {"non_blocking": args[2]} if len(args) > 2 else kwargs
            self._copied(args[1].device, args[0].device, late)
        return f(*args, **kwargs)

    def _copied(self, source: torch.device, target: torch.device, options: dict[str, Any]) -> None:
        if source != target:
            if not options.get("non_blocking"):
                raise Waited(f"a copy from {source} to {target} that is not sent")
            self.copies += 1


class _Numbers(TorchFunctionMode):
    """Refuses tensors that are made of numbers of the host and lie on the device."""

    def __torch_function__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if f in MADE:
            own = args[0].device if f is Tensor.new_tensor else torch.get_default_device()
            target = torch.device(kwargs.get("device") or own)
            if target == DEVICE and not isinstance(args[-1], Tensor):
                raise Waited(f"a tensor of {args[-1]!r} is made on {target}")
        return f(*args, **kwargs)
