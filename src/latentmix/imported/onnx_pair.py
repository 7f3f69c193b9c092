"""An encoder and a decoder in ONNX as an autoencoder; ONNX Runtime computes them, without gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data.decoding.images import open_image
from latentmix.imported.found import Found, Level, Range, called, read_json, settled
from latentmix.imported.ranged import Ranged
from latentmix.networks import EncoderDecoder
from latentmix.outside.onnx_session import open_session


@dataclass(frozen=True)
class OnnxNetwork:
    """Two ONNX files, which are stored as weights of the run.

    Channels may come first or last, and the batch may be fixed to one image. Images are scaled to the side
    that the encoder declares. A decoder may also take a picture, as in style transfer, which is then always
    the same.

    Arguments:
        bytes_of_files: Sizes of the encoder's and the decoder's file.
        code_shape: Shape of one code.
        low, high: Values of black and white.
        picture_shape: Shape of the decoder's picture as it declares it; empty if it takes none.
    """

    bytes_of_files: tuple[int, int]
    code_shape: tuple[int, ...]
    low: Level
    high: Level
    picture_shape: tuple[int, ...] = ()

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Allocate buffers for the files, which are filled from the checkpoint."""
        encoder, decoder = (torch.zeros(n, dtype=torch.uint8) for n in self.bytes_of_files)
        picture = torch.zeros(self.picture_shape) if self.picture_shape else None
        return Ranged(
            nn.Sequential(OnnxHalf(encoder, encodes=True), Reshaped(self.code_shape)),
            OnnxHalf(decoder, encodes=False, picture=picture),
            tuple(self.code_shape),
            self.low,
            self.high,
        )


class Reshaped(nn.Module):
    """Reshape codes, which drops single rows and columns."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, h: Tensor) -> Tensor:
        return h.reshape(-1, *self.shape)


class OnnxHalf(nn.Module):
    """One ONNX file: images (B, C, H, W) to codes in the file's own shape, or codes (B, ...) to images.

    Arguments:
        content: The file's bytes, uint8.
        encodes: Whether it is the encoder.
        picture: Value of all further inputs, in their own shape without the batch; None if there are none.
    """

    content: Tensor
    picture: Tensor | None

    def __init__(self, content: Tensor, *, encodes: bool, picture: Tensor | None = None) -> None:
        super().__init__()
        self.encodes = encodes
        self.register_buffer("content", content)
        self.register_buffer("picture", picture)
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Return everything except the session, which cannot be copied."""
        return {**self.__dict__, "_session": None}

    @property
    def session(self) -> Any:
        """ONNX Runtime's session, made when it is first needed.

        Raises:
            ValueError: The file is not an ONNX model, or refers to other files.
        """
        if self._session is None:
            self._session = open_session(self.content.cpu().numpy().tobytes())
        return self._session

    def wanted(self) -> tuple[Any, list[Any]]:
        """Return the input that varies, and those that always get the picture.

        Of several inputs, the smallest one varies, because a code is smaller than a picture.
        """
        inputs = sorted(self.session.get_inputs(), key=lambda i: math.prod(_known(i.shape[1:])))
        return inputs[0], inputs[1:]

    def forward(self, x: Tensor) -> Tensor:
        first, others = self.wanted()
        value = (_as_image if self.encodes else _as_code)(x.detach().float(), first.shape).cpu().numpy()
        alone = isinstance(first.shape[0], int) and first.shape[0] != len(value)
        found = []
        for part in np.split(value, len(value)) if alone else [value]:
            feed = {first.name: part}
            for other in others:
                assert self.picture is not None, "checked when it was imported"
                feed[other.name] = self.picture.cpu().numpy()[None].repeat(len(part), 0)
            found.append(np.asarray(self.session.run(None, feed)[0], dtype=np.float32))
        y = torch.from_numpy(np.concatenate(found)).to(x.device)
        return y.permute(0, 3, 1, 2) if not self.encodes and channels_last(y.shape) else y


def channels_last(shape: Sequence[Any]) -> bool:
    """Return whether images of this shape, which includes the batch, have their channels last."""
    return len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)


def _known(shape: Sequence[Any]) -> list[int]:
    """Return sizes, with 1 for each that is not fixed."""
    return [n if isinstance(n, int) else 1 for n in shape]


def _as_image(x: Tensor, shape: Sequence[Any]) -> Tensor:
    """Scale and permute images (B, C, H, W) to the shape that an input declares."""
    last = channels_last(shape)
    sides = tuple(shape[1:3] if last else shape[2:4])
    if len(sides) == 2 and all(isinstance(n, int) for n in sides) and sides != tuple(x.shape[2:]):
        x = F.interpolate(x, size=sides, mode="bilinear", antialias=True, align_corners=False)
    return (x.permute(0, 2, 3, 1) if last else x).contiguous()


def _as_code(h: Tensor, shape: Sequence[Any]) -> Tensor:
    rest = [n if isinstance(n, int) else -1 for n in shape[1:]]
    return h.reshape(len(h), *rest) if rest.count(-1) < 2 else h


def read(paths: list[Path], pixels: Range | None, size: int | None, picture: Path | None) -> Found:
    """Import two ONNX files.

    Arguments:
        paths: The encoder and the decoder.
        pixels: Values of black and white; by default those in latentmix.json beside the files.
        size: Side of the images in pixels, if the files do not declare it.
        picture: A picture for a decoder that takes one beside the code.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The files are not an encoder of images and a decoder, or something is unknown.
    """
    if len(paths) != 2:
        raise ValueError(f"{len(paths)} ONNX files; name two, ENCODER.onnx,DECODER.onnx")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    notes = paths[0].parent / "latentmix.json"
    if pixels is None and notes.is_file():
        pixels = _noted_range(notes)
    low, high = settled(pixels)
    contents = [torch.from_numpy(np.fromfile(path, np.uint8)) for path in paths]
    encoder, decoder = (OnnxHalf(c, encodes=i == 0) for i, c in enumerate(contents))
    for path, half in zip(paths, (encoder, decoder)):
        try:
            half.wanted()
        except ValueError as error:
            raise ValueError(f"{path} is {error}") from error
    first, more = encoder.wanted()
    if more:
        raise ValueError(f"{paths[0]} takes {1 + len(more)} inputs; an encoder takes images alone")
    if len(first.shape) != 4:
        raise ValueError(f"{paths[0]} takes inputs of shape {first.shape}; an encoder takes (N, C, H, W)")
    declared = decoder.session.get_outputs()[0].shape
    shape = _image_shape(declared, size) or _image_shape(first.shape, size)
    if shape is None:
        raise ValueError(f"{paths[0]} does not say how large its images are; give --size PIXELS")
    _, others = decoder.wanted()
    given = _pictures(paths[1], others, picture, (low, high))
    with torch.no_grad():
        h = called(encoder, torch.full((1, *shape), float(low)), str(paths[0]))
    code_shape = tuple(h.shape[1:])
    if _is_vector(code_shape):
        code_shape = (max(code_shape),)
    sizes = (len(contents[0]), len(contents[1]))
    network = OnnxNetwork(sizes, code_shape, low, high, () if given is None else tuple(given.shape))
    weights = {"autoencoder.encoder.0.content": contents[0], "autoencoder.decoder.content": contents[1]}
    if given is not None:
        weights["autoencoder.decoder.picture"] = given
    return Found(network, shape, weights, "ONNX pair")


def _noted_range(notes: Path) -> Range | None:
    """Return the values of black and white that latentmix.json names, if it names any."""
    found = read_json(notes).get("image_range")
    if found is None:
        return None
    try:
        low, high = map(float, found)
    except (TypeError, ValueError):
        raise ValueError(f"{notes}: image_range is {found!r}, and should be two numbers") from None
    return low, high


def _is_vector(shape: tuple[int, ...]) -> bool:
    """Return whether at most one side is larger than 1, so that a code is a vector."""
    return len(shape) > 1 and sum(n > 1 for n in shape) <= 1


def _pictures(path: Path, others: list[Any], picture: Path | None, pixels: Range) -> Tensor | None:
    """Load the picture for the further input of a decoder, in the shape that it declares."""
    if not others:
        return None
    shape = others[0].shape
    if len(others) > 1 or len(shape) != 4 or not all(isinstance(n, int) for n in shape[1:]):
        raise ValueError(
            f"{path} takes {1 + len(others)} inputs; a decoder takes codes and at most one picture"
        )
    if picture is None:
        raise ValueError(f"{path} takes a picture beside the code; give --picture FILE, used for all codes")
    last = channels_last(shape)
    height, width, channels = shape[1:] if last else (*shape[2:], shape[1])
    image = open_image(picture).convert("L" if channels == 1 else "RGB").resize((width, height))
    array = np.asarray(image, np.float32).reshape(height, width, channels) / 255
    array = pixels[0] + array * (pixels[1] - pixels[0])
    return torch.from_numpy(array if last else array.transpose(2, 0, 1).copy())


def _image_shape(shape: list[Any], size: int | None) -> tuple[int, int, int] | None:
    """Return (C, H, W) of the images that an ONNX file declares; None if it leaves too much open."""
    if len(shape) != 4:
        return None
    height, width, channels = shape[1:4] if channels_last(shape) else (*shape[2:4], shape[1])
    height, width = (n if isinstance(n, int) else size for n in (height, width))
    if height is None or width is None or not isinstance(channels, int):
        return None
    return channels, height, width
