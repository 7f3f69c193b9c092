"""Tensors on disk that are costly to compute again: written completely or not at all, read only if intact."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from latentmix.atomic import replacing


def digest(tensors: Iterable[Tensor]) -> str:
    """Return the first 16 digits of the SHA-256 of tensors."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def read(file: Path, names: Iterable[str], otherwise: str) -> dict[str, Tensor] | None:
    """Read tensors by name; warn and return None if the file is damaged or was changed.

    Arguments:
        names: Names of the tensors.
        otherwise: What the caller does then, for the warning.
    """
    try:
        with safe_open(file, "pt") as stored:
            mark = (stored.metadata() or {}).get("fingerprint")
            state = {name: stored.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        warnings.warn(f"{file} is damaged, {otherwise}: {error}", stacklevel=4)
        return None
    if mark != digest(state.values()):
        warnings.warn(f"{file} is not what was written, {otherwise}", stacklevel=4)
        return None
    return state


def write(file: Path, state: Mapping[str, Tensor], what: str) -> None:
    """Write tensors completely or not at all; only warn if the folder cannot be written.

    Arguments:
        state: {name: tensor}.
        what: What they are, for the warning.
    """
    state = {key: tensor.cpu().contiguous() for key, tensor in state.items()}
    try:
        with replacing(file) as stream:
            stream.write(save(state, {"fingerprint": digest(state.values())}))
    except OSError as error:
        warnings.warn(f"{what} is not kept, because {file.parent} cannot be written: {error}", stacklevel=4)
