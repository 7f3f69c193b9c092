"""Feature networks that the user has: an ONNX file, a function, or a folder in transformers' format.

Each takes images (B, 3, H, W) in [-1, 1], grey ones three times, and gives features (B, D); what it gives in
more dimensions is flattened. It is named in the protocol by a hash of its content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.metrics.features.classifier import Features
from latentmix.metrics.features.inception import inception
from latentmix.metrics.features.kept import digest
from latentmix.outside import module
from latentmix.outside.onnx_session import open_session

FUNCTION = re.compile(r"(?P<place>[A-Za-z_][\w.]*|.+\.py):(?P<name>[A-Za-z_]\w*)")
BATCH = 50  # images that the network computes at a time
PROBES = 8  # fixed images, by whose features a function is told from others
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation, if a folder names none
SIDE = 224  # pixels, if a folder names none


class Body(nn.Module):
    """A function of images (B, 3, H, W) as a feature network of images (B, 1 or 3, H, W).

    Arguments:
        compute: Images in [-1, 1] to features, (B, ...).
        name: For messages.
        network: What `compute` calls, if it is a module.
    """

    def __init__(
        self, compute: Callable[[Tensor], Tensor], name: str, network: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.compute, self.name, self.network = compute, name, network

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._features(part) for part in x.split(BATCH)])

    def _features(self, x: Tensor) -> Tensor:
        try:
            y = self.compute(x.expand(-1, 3, -1, -1))
        except Exception as error:  # code of the user's: any kind
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"{self.name} does not take images {(3, *x.shape[2:])}: {reason}") from error
        if not isinstance(y, Tensor) or y.ndim < 2 or len(y) != len(x) or not y.numel():
            found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"{self.name} must return features (B, D) for images (B, 3, H, W), and returned {found}"
            )
        if not y.isfinite().all():
            raise ValueError(f"{self.name} gives features that are not finite")
        return y.detach().float().flatten(1)


class OneClass(nn.Module):
    """The head of a network without classes: features (B, D) to one logit for each image, (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.logit.expand(len(features), 1)


def network(place: str, device: torch.device, side: int) -> Features | None:
    """Load the feature network of this name; return None for the classifier, which is trained for each draw.

    Arguments:
        place: "classifier", "inception", NET.onnx, a folder in transformers' format, or module:function.
        device: Where it computes.
        side: Side of the images that it will get, in pixels.

    Raises:
        ValueError: There is nothing of this name, or it cannot be used; the message names it.
    """
    if place == "classifier":
        return None
    if place == "inception":
        return inception(device)
    path, match = Path(place).expanduser(), FUNCTION.fullmatch(place)
    if path.suffix == ".onnx":
        body, print_ = _onnx(path)
    elif path.is_dir():
        body, print_ = _folder(path, device)
    elif match is not None:
        body = _function(place, match["place"], match["name"])
        print_ = _behaviour(body.to(device).eval(), device, side)
    else:
        raise ValueError(
            f"features={place}: choose classifier, inception, NET.onnx, a folder in transformers' format, "
            f"and module:function"
        )
    return Features(body.name, body.to(device).eval(), OneClass().to(device), print_, None, classes=False)


def _onnx(path: Path) -> tuple[Body, str]:
    if not path.is_file():
        raise ValueError(f"features={path}: no such file")
    content = path.read_bytes()
    try:
        session = open_session(content)
    except ImportError:
        raise ValueError("an ONNX feature network needs: pip install onnxruntime") from None
    except ValueError as error:
        raise ValueError(f"features={path}: {error}") from error
    inputs = session.get_inputs()
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4:
        raise ValueError(f"features={path}: it takes {[i.shape for i in inputs]}, not one batch of images")
    channels = shape[1] if isinstance(shape[1], int) else 3
    side = [n for n in shape[2:] if isinstance(n, int)]
    first = session.get_outputs()[0].name

    def compute(x: Tensor) -> Tensor:
        if len(side) == 2:
            x = F.interpolate(x, side, mode="bilinear", antialias=True, align_corners=False)
        rows = x[:, :channels].cpu().float().numpy()
        parts = [rows] if not isinstance(shape[0], int) else [r[None] for r in rows]
        return torch.cat([torch.from_numpy(session.run([first], {inputs[0].name: r})[0]) for r in parts])

    return Body(compute, f"{path.name} (ONNX)"), hashlib.sha256(content).hexdigest()[:16]


def _folder(path: Path, device: torch.device) -> tuple[Body, str]:
    if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
        raise ValueError(
            f"features={path}: a folder in transformers' format has config.json and weights in safetensors"
        )
    try:
        from transformers import AutoModel
    except ImportError:
        raise ValueError(f"features={path}: this folder needs: pip install transformers") from None
    try:
        net = AutoModel.from_pretrained(
            path, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        settings = path / "preprocessor_config.json"
        words = json.loads(settings.read_text()) if settings.is_file() else {}
        mean, deviation = (
            torch.tensor(words.get(k) or v) for k, v in zip(("image_mean", "image_std"), IMAGENET)
        )
        side = _side(words, net.config)
    except Exception as error:  # transformers has many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"features={path}: transformers cannot read it: {reason}") from error
    net = net.float().eval().to(device).requires_grad_(False)
    mean, deviation = (x.reshape(-1, 1, 1).to(device) for x in (mean, deviation))

    def compute(x: Tensor) -> Tensor:
        big = F.interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        found = net(pixel_values=((big + 1) / 2 - mean) / deviation)
        pooled = getattr(found, "pooler_output", None)
        return found.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)

    print_ = hashlib.sha256(f"{digest(net.state_dict().values())} {mean} {deviation} {side}".encode())
    return Body(compute, f"{path.resolve().name} ({type(net).__name__})", net), print_.hexdigest()[:16]


def _side(words: dict[str, Any], config: Any) -> int:
    """Return the side of the images that a network of transformers takes, in pixels."""
    for size in (words.get("crop_size"), words.get("size")):
        if isinstance(size, dict):
            size = size.get("height") or size.get("shortest_edge")
        if isinstance(size, int):
            return size
    size = getattr(config, "image_size", None)
    return size if isinstance(size, int) and not words else SIDE


def _function(place: str, where: str, name: str) -> Body:
    found = getattr(module(where, place), name, None)
    if not callable(found):
        raise ValueError(f"features={place}: {where} has no function {name}")
    if isinstance(found, nn.Module):
        found = found.eval().requires_grad_(False)
    return Body(found, f"{Path(where).name}:{name}", found if isinstance(found, nn.Module) else None)


def _behaviour(body: Body, device: torch.device, side: int) -> str:
    """Hash the features of fixed images, rounded to three digits; a function's weights are unknown."""
    probes = torch.rand(PROBES, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        features = body(probes.to(device)).cpu()
    text = " ".join(f"{v:.3g}" for v in features.flatten().tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
