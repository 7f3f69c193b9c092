"""A decoder for a trained classifier's hidden states, which shows what mixes at a hidden layer look like."""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from latentmix.methods import Batch, Losses, Method, Shape
from latentmix.methods.classifier import Classifier


class HiddenDecoder(Method):
    """min_g |x - g(h + noise)|^2, where h are the hidden states of a classifier that is not changed.

    The classifier is that of the run that `start_from` names. Mixes of hidden states are decoded like those
    of an autoencoder's codes: `encode` is the classifier up to `layer`, and `decode` is g.

    Arguments:
        shape: Shape of an image, (C, H, W).
        start: The trained classifier.
        layer: The layer whose output is decoded, named as a direct submodule of the network.
        noise: Standard deviation of the noise that is added to hidden states in training.

    Raises:
        ValueError: There is no run of a classifier to start from, it has no such layer, or the layer's maps
            do not have half the side of the images.

    References:
        Manifold Mixup v1, figures 3 and 4, and the code published with it.
    """

    label = "hidden states"
    lr = 1e-3
    batch_size = 32
    best = "-reconstruction"

    def __init__(
        self,
        shape: Shape,
        start: Method | None = None,
        *,
        layer: str = "layer2",
        noise: Annotated[float, Field(ge=0, le=100)] = 0.05,
    ) -> None:
        if not isinstance(start, Classifier):
            raise ValueError(
                "method hidden_decoder needs start_from=RUN, the folder of a run of method=classifier"
            )
        names = [name for name, _ in start.network.named_children()]
        if layer not in names:
            raise ValueError(f"method.layer={layer}: the classifier's layers are {', '.join(names)}")
        super().__init__()
        self.classifier = start.requires_grad_(False).eval()
        self.label = f"hidden states, {start.label}"
        self.layer, self.noise = layer, noise
        self._before = names[: names.index(layer) + 1]
        with torch.no_grad():
            self.code_shape = tuple(self.encode(torch.zeros(1, *shape)).shape[1:])
        if len(self.code_shape) != 3 or 2 * self.code_shape[1] != shape[1]:
            raise ValueError(
                f"method.layer={layer} has codes {self.code_shape}, whose sides this decoder doubles: "
                f"that must give images of {shape[1]} pixels"
            )
        self.decoder = Doubling(self.code_shape[0], shape[0])

    def train(self, mode: bool = True) -> HiddenDecoder:
        """Set the mode of the decoder; the classifier stays in evaluation mode."""
        super().train(mode)
        self.classifier.eval()
        return self

    def encode(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to hidden states (B, *code_shape)."""
        h = self.classifier.prepare(x)
        for name in self._before:
            h = self.classifier.network.get_submodule(name)(h)
        return h

    def decode(self, h: Tensor) -> Tensor:
        """Map hidden states (B, *code_shape) to images (B, C, H, W), approximately in [-1, 1]."""
        return self.decoder(h)

    def classify(self, x: Tensor) -> Tensor:
        """Return the classifier's logits (B, K)."""
        return self.classifier.classify(x)

    def optimiser(self, player: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=lr)

    def losses(self, batch: Batch) -> Losses:
        with torch.no_grad():
            h = self.encode(batch.x)
            h = h + self.noise * torch.empty_like(h).normal_(generator=batch.generator)
        error = (self.decode(h) - batch.x).square().flatten(1).sum(1).mean()
        return {"decoder": error}, {"reconstruction": error / batch.x[0].numel()}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean square error of each decoded image."""
        error = (self.decode(self.encode(batch.x)) - batch.x).square()
        return {"reconstruction": error.flatten(1).mean(1)}


class Doubling(nn.Sequential):
    """Five 5x5 convolutions with leaky ReLU between them; the maps are upsampled by two after the second.

    It maps (B, C, H, W) to (B, c_out, 2 H, 2 W) and has 1,077,955 parameters for 128 maps and colour images,
    as published.

    Arguments:
        maps: Number of input maps, C; the third and the fourth convolution halve it.
        c_out: Number of channels of the images.
    """

    def __init__(self, maps: int, c_out: int) -> None:
        widths = (maps, maps, maps, maps // 2, maps // 4, c_out)
        layers: list[nn.Module] = []
        for i, (c_in, c_to) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Upsample(scale_factor=2)] if i == 2 else []
            layers += [nn.Conv2d(c_in, c_to, 5, padding=2), nn.LeakyReLU(0.02)]
        super().__init__(*layers[:-1])
