"""Networks for the matrix, of further kinds: state spaces, experts, capsules, graphs, packed sequences."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, rnn

sys.path.insert(0, str(Path(__file__).parent))
from matrix_networks import NO_STACK, Case, Mean, Pool, Residual, encoder, real


class Blocks(nn.Module):
    """Sequences (B, T, 5): an embedding, blocks, and a classifier of the mean over time."""

    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(5, 8), nn.Linear(8, 4)
        self.blocks = nn.ModuleList(block() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h.mean(1))


class Selective(nn.Module):
    """A selective state space, as in Mamba, computed step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.enter, self.leave = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(16, 8)
        self.conv = nn.Conv1d(16, 16, 3, padding=2, groups=16)
        self.select, self.rate = nn.Linear(16, 9), nn.Parameter(torch.arange(1.0, 5).log().repeat(16, 1))

    def forward(self, h: Tensor) -> Tensor:
        u, gate = self.enter(self.norm(h)).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., : h.shape[1]].transpose(1, 2))
        step, into, out = self.select(u).split([1, 4, 4], -1)
        step, state, seen = F.softplus(step), h.new_zeros(h.shape[0], 16, 4), []
        for t in range(h.shape[1]):
            state = state * torch.exp(-step[:, t, :, None] * self.rate.exp())
            state = state + step[:, t, :, None] * into[:, t, None] * u[:, t, :, None]
            seen.append((state * out[:, t, None]).sum(-1))
        return h + self.leave(torch.stack(seen, 1) * F.silu(gate))


class Mixing(nn.Module):
    """A block of an MLP-Mixer: a perceptron over places, then one over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(8), nn.LayerNorm(8)
        self.places = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))
        self.channels = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.places(self.first(h).transpose(1, 2)).transpose(1, 2)
        return h + self.channels(self.second(h))


class Experts(nn.Module):
    """Every token goes to one of three experts, which see the tokens of all samples in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.ReLU()) for _ in range(3))
        self.back = nn.Linear(16, 8)

    def forward(self, h: Tensor) -> Tensor:
        flat = h.flatten(0, 1)
        shares = self.gate(flat).softmax(-1)
        out, chosen = torch.zeros(len(flat), 16, dtype=h.dtype), shares.argmax(-1)
        for i, expert in enumerate(self.experts):
            rows = (chosen == i).nonzero()[:, 0]
            out = out.index_add(0, rows, (expert(flat[rows]) * shares[rows, i, None]).to(out.dtype))
        return h + self.back(out).reshape(h.shape)


class TimeOut(nn.Module):
    """Reads lines of text: convolutions of (B, 1, 8, W), and (T, B, classes) for the CTC loss."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d((8, 2)))
        self.rnn, self.head = nn.LSTM(4, 6, bidirectional=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.rnn(self.cnn(x).squeeze(2).permute(2, 0, 1))
        return self.head(h).log_softmax(-1)


class Capsules(nn.Module):
    """Capsules with three rounds of routing by agreement."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.votes = nn.Conv2d(3, 8, 3, 2, 1), nn.Parameter(0.3 * torch.randn(32, 4, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        parts = squash(self.conv(x).reshape(len(x), 32, 4))
        votes = torch.einsum("pcij,bpj->bpci", self.votes, parts)
        logits = torch.zeros(votes.shape[:3], dtype=votes.dtype)
        for _ in range(3):
            wholes = squash((logits.softmax(2)[..., None] * votes).sum(1))
            logits = logits + (votes * wholes[:, None]).sum(-1)
        return wholes.norm(dim=-1)


def squash(v: Tensor) -> Tensor:
    square = v.square().sum(-1, keepdim=True)
    return square / (1 + square) * v / (square + 1e-6).sqrt()


class Flow(nn.Module):
    """Euler steps along a field, as in a neural ODE."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))

    def forward(self, h: Tensor) -> Tensor:
        for _ in range(4):
            h = h + self.field(h) / 4
        return h


class Hyper(nn.Module):
    """One network makes the weights of another, for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.stem = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 40)), nn.Linear(5, 8)
        self.act, self.head = nn.Tanh(), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.make(x).reshape(-1, 5, 8)
        return self.head(self.act(torch.einsum("bij,bj->bi", weights, self.stem(x))))


class LongSet(nn.Module):
    """Sets of different sizes: members behind the size do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8))
        self.all = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: Tensor, sizes: Tensor) -> Tensor:
        return self.all((self.each(x) * (torch.arange(x.shape[1]) < sizes[:, None])[..., None]).sum(1))


class Packed(nn.Module):
    """A recurrent network over packed sequences, whose steps lie in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Linear(5, 6), nn.GRU(6, 8, batch_first=True)
        self.act, self.head = nn.Tanh(), nn.Linear(8, 4)

    def forward(self, x: Tensor, sizes: Tensor) -> Tensor:
        packed = rnn.pack_padded_sequence(self.embed(x), sizes, batch_first=True, enforce_sorted=False)
        steps, _ = rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.head(self.act(steps.sum(1)))


def sized(n: int) -> tuple[Tensor, ...]:
    return torch.randn(n, 6, 5), torch.tensor([6, 3, 4, 2, 5, 1])[:n]


class Readout(nn.Module):
    def forward(self, h: Tensor, graph: Tensor) -> Tensor:
        return torch.zeros(int(graph.max()) + 1, h.shape[1], dtype=h.dtype).index_add(0, graph, h)


class Graphs(nn.Module):
    """The nodes of all graphs in one list, with links, as torch_geometric has them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.readout = nn.Linear(5, 8), nn.Linear(8, 8), Readout()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor, links: Tensor, graph: Tensor) -> Tensor:
        h = self.first(x)
        h = h.index_add(0, links[1], h[links[0]]).relu()
        return self.head(self.readout(self.second(h), graph))


def graphs(n: int) -> tuple[Tensor, ...]:
    chain = torch.tensor([[0, 1, 2], [1, 2, 3]])  # four nodes each
    links = torch.cat([chain + 4 * i for i in range(n)], 1)
    return torch.randn(4 * n, 5), links, torch.arange(n).repeat_interleave(4)


class Fourier(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return torch.fft.rfft(h.float(), dim=1)


class Spectral(nn.Module):
    """A layer of a Fourier neural operator, complex inside."""

    def __init__(self) -> None:
        super().__init__()
        self.fourier, self.weight = Fourier(), nn.Parameter(torch.randn(8, 8, dtype=torch.cfloat) / 3)

    def forward(self, h: Tensor) -> Tensor:
        return torch.fft.irfft(self.fourier(h) @ self.weight, n=h.shape[1], dim=1).relu()


class Resonance(nn.Module):
    """Images from complex measurements, beside real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Linear(8, 4)

    def forward(self, measured: Tensor, image: Tensor) -> Tensor:
        x = torch.view_as_real(torch.fft.ifft2(measured)).permute(0, 3, 1, 2)
        return self.head(self.act(self.conv(torch.cat([x, image[:, None]], 1))).mean((2, 3)))


class LowRank(nn.Module):
    """LoRA: a frozen layer and a trained product of two narrow ones."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.base = nn.Linear(a, b).requires_grad_(False)
        self.down, self.up = nn.Linear(a, 2, bias=False), nn.Linear(2, b, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.base(h) + self.up(self.down(h))


class Functional(nn.Module):
    """Calls a network with weights that are given, as meta-learning does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 8), *(rectified() for _ in range(3)), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        weights = {name: 0.9 * p for name, p in self.net.named_parameters()}
        return torch.func.functional_call(self.net, weights, (x,))


def rectified() -> nn.Module:
    return Residual(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8)))


class Latents(nn.Module):
    """A Perceiver: learned queries look at the input, and then at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.embed = nn.Parameter(torch.randn(3, 8)), nn.Linear(5, 8)
        self.cross = nn.MultiheadAttention(8, 2, batch_first=True)
        self.body, self.head = encoder(True), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        e = self.embed(x)
        h, _ = self.cross(self.queries.expand(len(x), -1, -1).to(e.dtype), e, e)
        return self.head(self.body(h).mean(1))


class Exits(nn.Module):
    """Early exits: every block has a classifier of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.blocks = nn.ModuleList(rectified() for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(8, 4) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        h, out = self.stem(x), []
        for block, head in zip(self.blocks, self.heads):
            h = block(h)
            out.append(head(h))
        return out


class Members(nn.Module):
    """An ensemble in one network: the batch is repeated, and means are taken at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.own = nn.Linear(5, 8), nn.Parameter(torch.randn(3, 1, 8))
        self.body, self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = (self.stem(x) * self.own).flatten(0, 1)
        return self.head(self.body(h)).unflatten(0, (3, -1)).mean(0)


class Frames(nn.Module):
    """A film: the frames of all samples go through convolutions as one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Pool())
        self.rnn, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.cnn(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.head(self.rnn(h)[0].mean(1))


class Again(nn.Module):
    """One block, used three times, as in a universal transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(5, 8), rectified(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.block(self.block(self.stem(x)))))


SEQUENCE, ROW = real((6, 5)), real((5,))
FIRST_TWO = ["blocks.0", "blocks.1"]
CASES = [
    Case("state space (Mamba)", lambda: Blocks(Selective), SEQUENCE, ["embed", "blocks.1"], FIRST_TWO),
    Case("MLP-Mixer", lambda: Blocks(Mixing), SEQUENCE, ["blocks.1"], FIRST_TWO),
    Case(
        "mixture of experts",
        lambda: Blocks(Experts),
        SEQUENCE,
        ["blocks.1"],
        FIRST_TWO,
        wrong={"blocks.1.gate": "not the batch"},
    ),
    Case(
        "text in images, time first out",
        TimeOut,
        real((1, 8, 12)),
        ["cnn"],
        NO_STACK,
        answer=lambda out: out.permute(1, 2, 0),
        wrong={"rnn": "not the batch"},
    ),
    Case("capsules", Capsules, real((3, 8, 8)), ["conv"], NO_STACK),
    Case(
        "neural ODE",
        lambda: nn.Sequential(nn.Linear(5, 8), Flow(), nn.Linear(8, 4)),
        ROW,
        ["0", "1"],
        NO_STACK,
        wrong={"1.field": "ran 4 times"},
    ),
    Case("hypernetwork", Hyper, ROW, ["act"], NO_STACK, wrong={"make": "passed by"}),
    Case("sets of different sizes", LongSet, sized, ["all.0"], NO_STACK, wrong={"each": "passed by"}),
    Case("packed sequences", Packed, sized, ["act"], NO_STACK, wrong={"rnn": "not the batch"}),
    Case(
        "graphs in one list of nodes",
        Graphs,
        graphs,
        ["readout"],
        "!fails",
        "!nothing of the batch",
        wrong={"second": "for a batch"},
    ),
    Case(
        "Fourier operator",
        lambda: nn.Sequential(nn.Linear(5, 8), Spectral(), Spectral(), Mean(), nn.Linear(8, 4)),
        SEQUENCE,
        ["1", "2.fourier"],
        ["1"],
    ),
    Case(
        "complex and real inputs",
        Resonance,
        lambda n: (torch.randn(n, 6, 6, dtype=torch.cfloat), torch.randn(n, 6, 6)),
        ["conv"],
        NO_STACK,
    ),
    Case(
        "weight norm",
        lambda: nn.Sequential(
            nn.Linear(5, 8),
            *(Residual(nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8)))) for _ in range(3)),
            nn.Linear(8, 4),
        ),
        ROW,
        ["1"],
        ["1", "2"],
    ),
    Case(
        "LoRA",
        lambda: nn.Sequential(nn.Linear(5, 8), *(Residual(LowRank(8, 8)) for _ in range(3)), nn.Linear(8, 4)),
        ROW,
        ["1"],
        ["1", "2"],
        wrong={"1.inner.base": "passed by"},
    ),
    Case("weights given by a function", Functional, ROW, ["net.1"], ["net.1", "net.2"]),
    Case(
        "learned queries (Perceiver)",
        Latents,
        SEQUENCE,
        ["cross"],
        ["body.layers.0", "body.layers.1"],
    ),
    Case(
        "early exits",
        Exits,
        ROW,
        ["stem", "blocks.0"],
        NO_STACK,
        answer=lambda out: torch.cat(out, 1),
        wrong={"blocks.1": "passed by"},
    ),
    Case(
        "ensemble in one network",
        Members,
        ROW,
        ["stem"],
        NO_STACK,
        wrong={"body": "not the batch"},
    ),
    Case(
        "frames in the batch",
        Frames,
        real((5, 3, 6, 6)),
        ["rnn"],
        NO_STACK,
        wrong={"cnn": "not the batch"},
    ),
    Case(
        "one block, three times",
        Again,
        ROW,
        ["stem"],
        NO_STACK,
        wrong={"block": "ran 3 times"},
    ),
]
