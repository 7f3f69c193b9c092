"""The default networks of pythae: perceptrons with one hidden layer of 512 units on either side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from latentmix.imported.found import SAFE, Found, first_line, read_json
from latentmix.imported.ranged import Ranged
from latentmix.networks import EncoderDecoder

HIDDEN = 512


@dataclass(frozen=True)
class PythaeNetwork:
    """Perceptrons: pixels in [0, 1], 512 units (ReLU), the code, 512 units (ReLU), pixels (sigmoid).

    Arguments:
        d_h: Number of units of the code; the code of a variational autoencoder is the posterior's mean.

    References:
        pythae 0.1.2, `pythae.models.nn.default_architectures`.
    """

    d_h: int

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build the autoencoder with random weights."""
        encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, self.d_h)
        )
        decoder = nn.Sequential(
            nn.Linear(self.d_h, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, math.prod(shape)), nn.Sigmoid()
        )
        return Ranged(encoder, nn.Sequential(decoder, nn.Unflatten(1, shape)), (self.d_h,), 0, 1)


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of pythae to the names in `PythaeNetwork`'s autoencoder.

    Raises:
        ValueError: They are not weights of pythae's default networks.
    """
    names = {
        "encoder.layers.0.0": "encoder.1",
        "encoder.embedding": "encoder.3",
        "decoder.layers.0.0": "decoder.0.0",
        "decoder.layers.1.0": "decoder.0.2",
    }
    known = {f"{a}.{w}": f"{b}.{w}" for a, b in names.items() for w in ("weight", "bias")}
    parts = {name.partition(".")[0] for name in weights} - {"encoder", "decoder", "discriminator"}
    halves = {name for name in weights if name.startswith(("encoder.", "decoder."))}
    unknown = halves - known.keys() - {"encoder.log_var.weight", "encoder.log_var.bias"}
    if parts or unknown or not known.keys() <= halves:
        example = sorted(parts or unknown or known.keys() - halves)[0]
        raise ValueError(
            "only autoencoders with pythae's default networks, such as AE and VAE, can be imported; "
            f"the weights of this one differ: {example}"
        )
    return {new: weights[old] for old, new in known.items()}


def read(path: Path) -> Found:
    """Import a folder in pythae's format.

    Raises:
        ValueError: Its networks are not the default ones, it has pickles, or it cannot be read.
    """
    settings = read_json(path / "model_config.json")
    for half in ("encoder", "decoder"):
        if (path / f"{half}.pkl").exists() or settings.get(f"uses_default_{half}") is False:
            raise ValueError(f"{path}: its {half} is a pickle, which can run any code; {SAFE}")
    try:
        content = torch.load(path / "model.pt", map_location="cpu", weights_only=True)
        weights = renamed({k: v.float() for k, v in content["model_state_dict"].items()})
    except FileNotFoundError as error:
        raise ValueError(f"{path} has no model.pt with its weights") from error
    except Exception as error:  # unpickling that is refused has many kinds
        raise ValueError(f"{path / 'model.pt'} cannot be read: {first_line(error)}") from error
    shape = tuple(settings.get("input_dim") or ())
    if len(shape) != 3 or shape[1] != shape[2] or shape[0] not in (1, 3):
        raise ValueError(f"{path}: its inputs have shape {shape}, and square images (C, H, H) are needed")
    network = PythaeNetwork(int(weights["encoder.3.weight"].shape[0]))
    title = str(settings.get("name", "pythae")).removesuffix("Config").removesuffix("_")
    return Found(network, shape, {f"autoencoder.{k}": v for k, v in weights.items()}, title)
