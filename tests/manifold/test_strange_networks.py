"""Networks of kinds that hide something: states, generators, tensors without rows, batches in odd places."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup


def labels(n: int = 6) -> Tensor:
    return torch.arange(n) % 3


class Observed(nn.Module):
    """Keeps what it sees in evaluation mode too: in a buffer, as observers of quantisation do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        self.register_buffer("largest", torch.zeros(()))
        self.last: Tensor | None = None
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x + 1e-4 * torch.randn(x.shape[-1], generator=self.generator))
        self.largest.copy_(torch.maximum(self.largest, h.detach().abs().max()))
        self.last = h.detach() if self.last is None else (self.last.mean() + h).detach()
        self.seen = h.detach()
        return self.head(h / self.largest)


def test_the_examination_leaves_what_evaluation_mode_moves() -> None:
    torch.manual_seed(0)
    model, x = Observed(), torch.randn(6, 4)
    drew = model.generator.get_state()
    mm = ManifoldMixup(model, ["stem"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its outputs depend on the largest state of the batch, it is said
        mm.eligible(x)
        assert mm._examined
    assert model.largest == 0
    assert model.last is None
    assert not hasattr(model, "seen")
    assert torch.equal(model.generator.get_state(), drew)


class Recording(nn.Module):
    """Prepares itself at its first pass: it hangs hooks on its blocks, and notes that they are there."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(8, 3)
        self.prepared = False
        self.passes: list[int] = []
        self.seen: dict[str, Tensor] = {}
        self._recorded: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if not self.prepared:
            for block in self.blocks:
                block.register_forward_hook(lambda m, args, h: self._recorded.append(h))
            self.prepared = True
        self.passes.append(len(x))
        self.seen.setdefault("first", x)
        self._recorded.clear()
        for block in self.blocks:
            x = block(x)
        return self.head(torch.cat(self._recorded, 1))


def test_the_examination_hangs_no_hook_twice() -> None:
    torch.manual_seed(0)
    model, x = Recording(), torch.randn(6, 4)
    mm = ManifoldMixup(model, ["blocks.0"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # everything passes through the first block
        mm.eligible(x)
    assert not model.prepared
    assert model.passes == []
    assert model.seen == {}
    assert len(model.blocks[1]._forward_hooks) == 0
    with mm(6) as m:
        m.loss(F.cross_entropy, model(x), labels()).backward()
    model(x)
    assert model.passes == [6, 6]
    assert len(model.blocks[1]._forward_hooks) == 1


def test_states_that_a_network_collects_by_hooks_of_its_own_are_mixed_ones() -> None:
    torch.manual_seed(0)
    model, x = Recording(), torch.randn(6, 4)
    model(x)  # its hooks are there before ours
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that something passes the first block by
        with ManifoldMixup(model, ["blocks.0"])(6) as m:
            out = model(x)
    h = model.blocks[0](x)
    mixed = m.lam * h + (1 - m.lam) * h[m.perm]
    assert torch.allclose(out, model.head(torch.cat([mixed, model.blocks[1](mixed)], 1)), atol=1e-6)


class Lists(nn.Module):
    """Sequences of different lengths in one tensor, nested or sparse, without padding."""

    def __init__(self, layout: torch.layout) -> None:
        super().__init__()
        self.layout, self.embed, self.head = layout, nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.layout is torch.sparse_coo:
            return self.head(torch.sparse.mm(x, self.embed.weight.T))
        parts = [row[: 1 + int(row[0, 0] > 0)] for row in x]
        h = self.embed(torch.nested.nested_tensor(parts, layout=self.layout))
        return self.head(torch.stack([part.mean(0) for part in h.unbind()]))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("layout", "layer", "kind"),
    [
        (torch.jagged, "embed", "nested"),
        (torch.strided, "embed", "nested"),
        (torch.sparse_coo, "input", "sparse"),
    ],
)
def test_tensors_without_rows_are_refused_by_name(layout: torch.layout, layer: str, kind: str) -> None:
    model = Lists(layout)
    x = torch.randn(6, 3, 4) if kind == "nested" else torch.eye(6, 4).to_sparse()
    with pytest.raises(ValueError, match=f"layer '{layer}' holds a {kind} tensor"):
        with ManifoldMixup(model, [layer])(6):
            model(x)
    if layout is not torch.strided:
        with ManifoldMixup(model, ["head"])(6) as m:
            m.loss(F.cross_entropy, model(x), labels()).backward()


class Stateful(nn.Module):
    """A recurrent network whose first state is an input, (1, B, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return self.head(self.rnn(x, state)[0].mean(1))


def test_an_input_whose_batch_is_in_another_dimension_is_named() -> None:
    model = Stateful()
    with pytest.warns(
        UserWarning, match=r"'input' leaves 1 float32 \(1, 6, 8\) unmixed: its batch is not in"
    ):
        with ManifoldMixup(model, ["input"])(6) as m:
            m.loss(F.cross_entropy, model(torch.randn(6, 5, 4), torch.randn(1, 6, 8)), labels())


class Ensemble(nn.Module):
    """Three networks as one, whose states `torch.vmap` gives to nobody outside."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights, _ = torch.func.stack_module_state(list(self.members))
        each = torch.vmap(lambda w: torch.func.functional_call(self.members[0], w, (x,)))
        return each(weights).mean(0)


def test_states_inside_of_vmap() -> None:
    model, x = Ensemble(), torch.randn(6, 4)
    with pytest.raises(ValueError, match="finds no stack of blocks"):
        ManifoldMixup(model, "auto", example=x)
    with pytest.warns(UserWarning, match="unexamined"), ManifoldMixup(model, ["members.0.0"])(6) as m:
        out = model(x)
    weights = [(member[0](x), member[1]) for member in model.members]
    mixed = [head(m.lam * h + (1 - m.lam) * h[m.perm]) for h, head in weights]
    torch.testing.assert_close(out, torch.stack(mixed).mean(0))


class Places(nn.Module):
    """Looks at the places of an image in a random order, as ViLT does."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        order = torch.rand(x.shape[:2]).argsort(1)
        return self.head(self.embed(x.take_along_dim(order[..., None], 1)).tanh().mean(1))


class Sorting(nn.Module):
    """Sorts its samples, for packed sequences say, and gives the outputs back in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        return self.head(self.embed(x[order]))[order.argsort()]


def test_a_random_order_inside_of_a_sample_is_no_other_order_of_samples() -> None:
    torch.manual_seed(0)
    model = Places()
    with ManifoldMixup(model, ["embed"])(6) as m:
        m.loss(F.cross_entropy, model(torch.randn(6, 5, 4)), labels())
    sorting = Sorting()
    with pytest.raises(ValueError, match=r"'embed' .* or the network sorts its samples"):
        with ManifoldMixup(sorting, ["embed"])(6):
            sorting(torch.randn(6, 4))
