"""The autoencoder of latent diffusion models, diffusers' `AutoencoderKL`, computed by diffusers itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from latentmix.imported.found import SAFE, Found, first_line, read_json
from latentmix.networks import EncoderDecoder


@dataclass(frozen=True)
class KLNetwork:
    """diffusers' `AutoencoderKL`, pixels in [-1, 1]; a code is the mean of the posterior, unscaled.

    Arguments:
        settings: The model's config.json, without the entries that begin with "_".

    References:
        Rombach et al., "High-resolution image synthesis with latent diffusion models", CVPR 2022.
    """

    settings: str

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build the model with random weights.

        Raises:
            ValueError: Images of this shape do not fit the model.
        """
        from diffusers import AutoencoderKL

        settings = json.loads(self.settings)
        channels, height, width = shape
        step = 2 ** (len(settings["block_out_channels"]) - 1)
        if channels != settings["in_channels"] or height % step or width % step:
            raise ValueError(
                f"this AutoencoderKL takes images of {settings['in_channels']} channels whose sides are "
                f"multiples of {step} pixels, not {shape}"
            )
        model = AutoencoderKL.from_config(settings)
        return KLAutoencoder(model, (settings["latent_channels"], height // step, width // step))


class KLAutoencoder(EncoderDecoder):
    """An `AutoencoderKL` that encodes to the mean of the posterior.

    Arguments:
        kl: An `AutoencoderKL`.
        code_shape: Shape of one code.
    """

    def __init__(self, kl: Any, code_shape: tuple[int, ...]) -> None:
        nn.Module.__init__(self)  # encoder and decoder are parts of one module here
        self.kl, self.code_shape = kl, code_shape

    def encode(self, x: Tensor) -> Tensor:
        """Compute h = E[q(h | x)]."""
        return self.kl.encode(x).latent_dist.mode()

    def decode(self, h: Tensor) -> Tensor:
        """Compute x = g(h)."""
        return self.kl.decode(h).sample

    def forward(self, x: Tensor) -> Tensor:
        """Compute the reconstruction g(f(x))."""
        return self.decode(self.encode(x))


def read(path: Path, size: int | None) -> Found:
    """Import a folder in diffusers' format.

    Arguments:
        size: Side of the images in pixels; by default that of the settings, else 256.

    Raises:
        ValueError: It is not an AutoencoderKL, has no safetensors, or cannot be read.
    """
    settings = read_json(path / "config.json")
    kind = settings.get("_class_name")
    if kind != "AutoencoderKL":
        raise ValueError(f"{path} is a model of class {kind}; of diffusers only AutoencoderKL is imported")
    if not any(path.glob("*.safetensors")):
        raise ValueError(f"{path} has no weights in safetensors, and pickles are not opened; {SAFE}")
    from diffusers import AutoencoderKL

    try:
        model = AutoencoderKL.from_pretrained(
            path, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        ).float()
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: diffusers cannot read it: {first_line(error)}") from error
    plain = {k: v for k, v in dict(model.config).items() if not k.startswith("_")}
    network = KLNetwork(json.dumps(plain, sort_keys=True))
    side = size or plain.get("sample_size") or 256
    side = int(side[0] if isinstance(side, (list, tuple)) else side)
    weights = {f"autoencoder.kl.{name}": value for name, value in model.state_dict().items()}
    return Found(network, (plain["in_channels"], side, side), weights, "AutoencoderKL")
