"""A decoder of a trained classifier's hidden states: what mixes at a hidden layer look like."""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from latentmix.methods import Batch, Losses, Method, Shape
from latentmix.methods.classifier import Classifier


class HiddenDecoder(Method):
    """min_g |x - g(h + noise)|^2, h the hidden states of a classifier that stays as it is.

    The run that `start_from` names has trained the classifier. Mixes of hidden states are then decoded as
    those of an autoencoder are: `encode` is the classifier up to `layer`, `decode` is g.

    Arguments:
        shape: Shape of an image, (C, H, W).
        start: The trained classifier.
        layer: The hidden state that is decoded, the name of a direct submodule of the network.
        noise: Deviation of the noise that is added to hidden states in training.

    Raises:
        ValueError: A run that holds no classifier, or a layer that it does not have.

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
        """The hidden states (B, *code_shape) of images (B, C, H, W) in [-1, 1]."""
        h = self.classifier.standardise(x)
        for name in self._before:
            h = self.classifier.network.get_submodule(name)(h)
        return h

    def decode(self, h: Tensor) -> Tensor:
        """Images (B, C, H, W), about [-1, 1], of hidden states."""
        return self.decoder(h)

    def classify(self, x: Tensor) -> Tensor:
        """The classifier's logits (B, K)."""
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
        """The mean square error of each decoded image."""
        error = (self.decode(self.encode(batch.x)) - batch.x).square()
        return {"reconstruction": error.flatten(1).mean(1)}


class Doubling(nn.Sequential):
    """Five 5x5 convolutions with leaky ReLU between them, twice as large after the second.

    (B, C, H, W) to (B, c_out, 2 H, 2 W); 1,077,955 parameters for 128 maps and colour images, as published.

    Arguments:
        maps: C, kept at first, halved by the third and by the fourth convolution.
        c_out: Channels of the images.
    """

    def __init__(self, maps: int, c_out: int) -> None:
        widths = (maps, maps, maps, maps // 2, maps // 4, c_out)
        layers: list[nn.Module] = []
        for i, (c_in, c_to) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Upsample(scale_factor=2)] if i == 2 else []
            layers += [nn.Conv2d(c_in, c_to, 5, padding=2), nn.LeakyReLU(0.02)]
        super().__init__(*layers[:-1])
