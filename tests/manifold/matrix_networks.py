"""Networks for the matrix, of PyTorch's own parts: images, sequences, text, tables, several inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks.resnet import PreActResNet
from latentmix.networks.wide_resnet import WideResNet

Build = Callable[[], nn.Module]
Inputs = tuple[Tensor, ...] | dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A network, what it is called with, and what must come of it.

    Arguments:
        name: Row of the table.
        build: Makes the network, small.
        inputs: What it is called with for n samples; a dictionary by keyword.
        named: Layers to mix by name.
        auto: What "auto" finds, or the reason why it refuses (a regular expression that begins with "!").
        input: None where the input is mixed, or the reason as above.
        answer: From what the network returns to (B, ...) numbers.
        batch_dim: As for `ManifoldMixup`.
        quick: Whether it is compiled and trained by two ranks in each run of the tests; the others are slow.
        wrong: Layers that must be refused, or warned of, and the reason, a regular expression.
    """

    name: str
    build: Build
    inputs: Callable[[int], Inputs]
    named: list[str]
    auto: list[str] | str
    input: str | None = None
    answer: Callable[[Any], Tensor] = field(default=lambda out: out)
    batch_dim: Any = 0
    quick: bool = False
    wrong: dict[str, str] = field(default_factory=dict)


NO_STACK = "!finds no stack of blocks"
TOKENS = "!holds no tensor of real numbers"


def real(*shapes: tuple[int, ...]) -> Callable[[int], tuple[Tensor, ...]]:
    return lambda n: tuple(torch.randn(n, *shape) for shape in shapes)


def tokens(*steps: int) -> Callable[[int], tuple[Tensor, ...]]:
    return lambda n: tuple(torch.randint(20, (n, t)) for t in steps)


def conv(a: int, b: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor) -> Tensor:
        return h + self.inner(h)


class Pool(nn.Module):
    """Mean over all but batch and channels."""

    def forward(self, h: Tensor) -> Tensor:
        return h.flatten(2).mean(2)


def stem_blocks_neck() -> nn.Module:
    blocks = nn.Sequential(*(Residual(nn.Sequential(conv(8, 8), nn.Conv2d(8, 8, 3, 1, 1))) for _ in range(4)))
    return nn.Sequential(conv(3, 8), blocks, conv(8, 16), Pool(), nn.Linear(16, 4))


def flat_cnn() -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in ((3, 8), (8, 8), (8, 16)):
        layers += [nn.Conv2d(a, b, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(*layers, Pool(), nn.Linear(16, 4))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = conv(3, 8), conv(8, 8, 2), conv(8, 8, 2)
        self.up1, self.up2, self.out = conv(16, 8), conv(16, 8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(a)
        c = self.up1(torch.cat([F.interpolate(self.bottom(b), scale_factor=2), b], 1))
        return self.out(self.up2(torch.cat([F.interpolate(c, scale_factor=2), a], 1)))


class Dense(nn.Module):
    """A dense block: every layer sees all before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = conv(width, 4), conv(width + 4, 4)

    def forward(self, h: Tensor) -> Tensor:
        h = torch.cat([h, self.a(h)], 1)
        return torch.cat([h, self.b(h)], 1)


class Recurrent(nn.Module):
    def __init__(self, cell: type[nn.RNNBase], last: bool = False, **options: Any) -> None:
        super().__init__()
        self.last, self.first = last, options.get("batch_first", False)
        self.embed, self.rnn = nn.Linear(5, 6), cell(6, 8, **options)
        self.head = nn.Linear(16 if options.get("bidirectional") else 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        steps, state = self.rnn(self.embed(x))
        state = state[0] if isinstance(state, tuple) else state
        return self.head(state[-1] if self.last else steps.mean(1 if self.first else 0))


class Text(nn.Module):
    def __init__(self, body: nn.Module, dim: int = 1, width: int = 8) -> None:
        super().__init__()
        self.embed, self.body, self.head, self.dim = nn.Embedding(20, width), body, nn.Linear(width, 4), dim

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embed(x)).mean(self.dim))


def encoder(batch_first: bool, layers: int = 3) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=batch_first)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class Translate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.both = nn.Transformer(8, 2, 2, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.head(self.both(self.embed(source), self.embed(target)).mean(1))


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.net = (
            nn.EmbeddingBag(20, 8),
            nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.embed(x))


def tabular(blocks: int) -> nn.Module:
    inner = [
        Residual(
            nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 8))
        )
        for _ in range(blocks)
    ]
    return nn.Sequential(nn.Linear(5, 8), *inner, nn.LayerNorm(8), nn.Linear(8, 4))


class Columns(nn.Module):
    """Numbers and categories, each column a token."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.kinds = nn.Parameter(torch.randn(5, 8)), nn.Embedding(20, 8)
        self.body, self.head = encoder(True), nn.Linear(8, 4)

    def forward(self, x: Tensor, kinds: Tensor) -> Tensor:
        return self.head(self.body(torch.cat([x[..., None] * self.numbers, self.kinds(kinds)], 1)).mean(1))


class ImageAndTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(conv(3, 8), conv(8, 8), Pool())
        self.table, self.join = nn.Linear(5, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 4))

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        return self.join(self.image(image) + self.table(table))


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.head = nn.Sequential(nn.Linear(5, 8), nn.Tanh()), nn.Linear(8, 4)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.head((self.encode(a) - self.encode(b)).abs())


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*(Residual(nn.Sequential(nn.Linear(5, 5), nn.Tanh())) for _ in range(3)))
        self.kind, self.size = nn.Linear(5, 4), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.body(x)
        return {"kind": self.kind(h), "size": self.size(h)}


class Graph(nn.Module):
    """Nodes (B, N, F) and their links (B, N, N)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor, links: Tensor) -> Tensor:
        h = (links @ self.first(x)).relu()
        return self.head((links @ self.second(h)).relu().mean(1))


class Scaled(nn.Module):
    """Returns its logit scale, a parameter, beside the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale = tabular(3), nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.body(x) * self.scale, self.scale


def steps_first(steps: int) -> Callable[[int], tuple[Tensor, ...]]:
    return lambda n: (torch.randn(steps, n, 5),)


class Mean(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h.mean(1)


IMAGE = real((3, 8, 8))
CASES = [
    Case(
        "PreActResNet-18",
        lambda: PreActResNet(18, 4).classifier((3, 16, 16), 4),
        real((3, 16, 16)),
        ["layer1", "layer2"],
        ["layer1", "layer2", "layer3"],
        quick=True,
        wrong={"layer1.0.conv1": "passed by"},
    ),
    Case(
        "Wide ResNet",
        lambda: WideResNet(10, 1).classifier((3, 16, 16), 4),
        real((3, 16, 16)),
        ["layer1"],
        ["layer1", "layer2"],
        quick=True,
    ),
    Case(
        "stem, blocks, neck",
        stem_blocks_neck,
        IMAGE,
        ["0", "1.1", "2"],
        ["1.0", "1.1", "1.2"],
        quick=True,
        wrong={"1.1.inner": "passed by"},
    ),
    Case("plain convolutions", flat_cnn, IMAGE, ["0", "3"], NO_STACK),
    Case("U-Net, segmentation", UNet, IMAGE, ["down1", "up2"], ["down1"]),
    Case(
        "DenseNet",
        lambda: nn.Sequential(conv(3, 8), Dense(8), Dense(16), Dense(24), Pool(), nn.Linear(32, 4)),
        IMAGE,
        ["1", "2"],
        ["1", "2"],
    ),
    Case(
        "LSTM, batch first",
        lambda: Recurrent(nn.LSTM, batch_first=True),
        real((7, 5)),
        ["embed", "rnn"],
        NO_STACK,
    ),
    Case(
        "LSTM, time first, T = B",
        lambda: Recurrent(nn.LSTM),
        steps_first(6),
        ["embed", "rnn"],
        NO_STACK,
        batch_dim=1,
    ),
    Case(
        "GRU, both directions",
        lambda: Recurrent(nn.GRU, batch_first=True, bidirectional=True, num_layers=2),
        real((7, 5)),
        ["rnn"],
        NO_STACK,
    ),
    Case(
        "GRU, last state",
        lambda: Recurrent(nn.GRU, last=True, batch_first=True),
        real((7, 5)),
        ["embed"],
        NO_STACK,
        wrong={"rnn": "changes nothing"},
    ),
    Case(
        "convolutions over time",
        lambda: nn.Sequential(
            nn.Conv1d(5, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3), nn.ReLU(), Pool(), nn.Linear(8, 4)
        ),
        real((5, 12)),
        ["0", "2"],
        NO_STACK,
    ),
    Case(
        "transformer, batch first",
        lambda: Text(encoder(True)),
        tokens(6),
        ["embed", "body.layers.1"],
        ["body.layers.0", "body.layers.1"],
        TOKENS,
        quick=True,
    ),
    Case(
        "transformer, time first",
        lambda: Text(encoder(False), dim=0),
        lambda n: (torch.randint(20, (6, n)),),
        ["embed", "body.layers.1"],
        ["body.layers.0", "body.layers.1"],
        TOKENS,
        batch_dim=1,
    ),
    Case(
        "transformer, two sequences",
        Translate,
        tokens(6, 4),
        ["both"],
        NO_STACK,
        TOKENS,
        wrong={"both.encoder": "passed by"},
    ),
    Case("bag of words", Bag, tokens(6), ["embed", "net.0"], NO_STACK, TOKENS),
    Case(
        "perceptron of a table",
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)),
        real((5,)),
        ["0", "2"],
        NO_STACK,
        quick=True,
    ),
    Case("residual net of a table", lambda: tabular(3), real((5,)), ["0", "1"], ["1", "2"], quick=True),
    Case(
        "columns as tokens",
        Columns,
        lambda n: (torch.randn(n, 5), torch.randint(20, (n, 3))),
        ["body.layers.0"],
        ["body.layers.0", "body.layers.1"],
        r"!cannot mix 1 int64 \(\d, 3\)",
    ),
    Case(
        "image and table",
        ImageAndTable,
        real((3, 8, 8), (5,)),
        ["join.0"],
        NO_STACK,
        wrong={"image": "passed by"},
    ),
    Case(
        "two inputs, one encoder",
        Siamese,
        real((5,), (5,)),
        ["head"],
        NO_STACK,
        wrong={"encode": "ran 2 times"},
    ),
    Case(
        "several heads",
        Heads,
        real((5,)),
        ["body.0"],
        ["body.0", "body.1"],
        answer=lambda out: torch.cat([out["kind"], out["size"]], 1),
    ),
    Case("graph", Graph, real((6, 5), (6, 6)), ["second"], NO_STACK, wrong={"first": "passed by"}),
    Case(
        "set",
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), Mean(), nn.Linear(8, 4)),
        real((6, 5)),
        ["0", "3"],
        NO_STACK,
    ),
    Case(
        "logit scale beside", Scaled, real((5,)), ["body.1"], ["body.1", "body.2"], answer=lambda out: out[0]
    ),
    Case(
        "video",
        lambda: nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.Conv3d(4, 8, 3), Pool(), nn.Linear(8, 4)),
        real((3, 5, 8, 8)),
        ["0", "2"],
        NO_STACK,
    ),
]
