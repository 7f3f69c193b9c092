"""Two Python functions as an autoencoder: `module:encode,decode`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentmix.config import catalogue
from latentmix.imported.found import Found, Level, Range, called, settled
from latentmix.imported.ranged import Ranged
from latentmix.networks import EncoderDecoder

PAIR = re.compile(r"(?P<place>[A-Za-z_][\w.]*|.+\.py):(?P<encode>[A-Za-z_]\w*),(?P<decode>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class FunctionNetwork:
    """Functions of tensors: images (B, C, H, W) to codes (B, ...), and codes to images.

    They are in an installed module, or in a file that the command line names (`--allow`). Their weights are
    not part of the run.

    Arguments:
        functions: "module:encode,decode" or "./file.py:encode,decode".
        low, high: Values of black and white.
        code_shape: Shape of one code.
    """

    functions: str
    low: Level
    high: Level
    code_shape: tuple[int, ...]

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Find the functions and make them an autoencoder.

        Raises:
            ValueError: There is no such module or function.
        """
        match = PAIR.fullmatch(self.functions)
        if match is None:
            raise ValueError(f"{self.functions}: expected module:encode,decode")
        module = catalogue.module(match["place"], self.functions)
        halves = [getattr(module, match[name], None) for name in ("encode", "decode")]
        for name, half in zip(("encode", "decode"), halves):
            if not callable(half):
                raise ValueError(f"{self.functions}: {match['place']} has no function {match[name]}")
        encode, decode = (Function(half) for half in halves if callable(half))
        return Ranged(encode, decode, tuple(self.code_shape), self.low, self.high)


class Function(nn.Module):
    """A function of a tensor, as a module without weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = (function,)  # in a tuple: a module in it is not part of this one

    def forward(self, x: Tensor) -> Tensor:
        y = self._function[0](x)
        if not isinstance(y, torch.Tensor) or y.ndim < 2 or len(y) != len(x):
            raise ValueError("encode and decode must return a tensor with one row per row of their input")
        return y.float()


def read(source: str, pixels: Range | None, size: int | None, channels: int) -> Found:
    """Import two functions.

    Arguments:
        source: "module:encode,decode" or "./file.py:encode,decode".
        pixels: Values of black and white.
        size: Side of the images, in pixels.
        channels: Number of channels of the images.

    Raises:
        ValueError: Something is missing, or `encode` fails on an image of zeros.
    """
    low, high = settled(pixels)
    if size is None:
        raise ValueError(f"{source} does not say how large its images are; give --size PIXELS")
    shape = (channels, size, size)
    found = FunctionNetwork(source, low, high, ()).autoencoder(shape)
    with torch.no_grad():
        h = called(found.encode, torch.zeros(1, *shape), f"{source}: encode")
    return Found(FunctionNetwork(source, low, high, tuple(h.shape[1:])), shape, {}, "Python functions")
