"""What evaluation mode does not show, what an example lacks, and small leaks: said at the first pass."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.manifold.training_mode import passed_in_training
from latentmix.manifold.trial_run import Inputs


class Heads(nn.Module):
    """Blocks with dropout and batch norm, and in training mode a head or a shortcut behind the first one."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2)) for _ in range(4)
        )
        self.head, self.extra = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        first = h = self.blocks[0](x)
        for block in self.blocks[1:]:
            h = block(h)
        out = self.head(h)
        if self.kind == "plain" or not self.training:
            return out
        return (out, self.extra(first)) if self.kind == "head" else out + self.extra(first)


def samples(n: int = 8) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(1))


def step(mm: ManifoldMixup, model: nn.Module, *inputs: Tensor) -> None:
    with mm(len(inputs[0])) as m:
        out = model(*inputs)
        m.loss(F.cross_entropy, out[0] if isinstance(out, tuple) else out, torch.arange(len(inputs[0])) % 3)


@pytest.mark.parametrize("kind", ["head", "shortcut"])
def test_what_only_training_mode_has_is_said_and_auto_leaves_it_out(kind: str) -> None:
    model = Heads(kind)
    with pytest.warns(UserWarning, match="layer 'blocks.1' is passed by in training mode: .* auxiliary head"):
        step(ManifoldMixup(model, ["blocks.1"]), model, samples())
    assert passed_in_training(model, [f"blocks.{i}" for i in range(4)], Inputs.of((samples(),), {}, 0)) == [
        "blocks.1",
        "blocks.2",
        "blocks.3",
    ]
    with pytest.raises(ValueError, match="layers='auto' finds no stack of blocks"):
        ManifoldMixup(model, "auto", example=samples())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(ManifoldMixup(model, ["blocks.0"]), model, samples())


class Shuffling(nn.Module):
    """Shuffles its batch in training mode between the first block and the last, for the norms between."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.2)) for _ in range(4)
        )
        self.head, self.steps = nn.Linear(4, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        order = torch.randperm(len(x)) if self.training else torch.arange(len(x))
        self.steps += self.training
        h = self.blocks[0](x)[order]
        h = self.blocks[2](self.blocks[1](h))
        return self.head(self.blocks[3](h[order.argsort()]))


def test_a_batch_that_is_shuffled_inside_is_refused() -> None:
    for layer in ("blocks.1", "blocks.2"):
        model = Shuffling()
        with pytest.raises(ValueError, match=f"layer '{layer}' holds the samples in another order"):
            step(ManifoldMixup(model, [layer]), model, samples())
        assert model.steps == 0, "the look counts no steps"
    model = Shuffling()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(ManifoldMixup(model, ["blocks.0"]), model, samples())
    assert ManifoldMixup(Shuffling(), "auto", example=samples()).layers == ["blocks.0"]


def test_the_look_at_training_mode_leaves_no_trace() -> None:
    model = Heads("plain")
    model.blocks[0].eval()  # frozen by its user
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = torch.get_rng_state()
    assert passed_in_training(model, ["blocks.0", "blocks.2"], Inputs.of((samples(),), {}, 0)) == []
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.blocks[0].training
    assert model.blocks[1].training


class Masked(nn.Module):
    """Tokens whose blocks see a mask, of which they make little, or none if it is not given."""

    def __init__(self, share: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.share = share
        self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.embed(ids)
        for block in self.blocks:
            seen = h if mask is None else h * (1 + self.share * mask[..., None])
            h = block(seen + seen.mean(1, keepdim=True)).tanh()
        return self.head(h[:, 0])


IDS = torch.randint(9, (8, 5), generator=torch.Generator().manual_seed(2))
LENGTHS = torch.tensor([5, 3, 4, 2, 5, 1, 3, 2])
MASK = (torch.arange(5) < LENGTHS[:, None]).long()


@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK)], ids=["padded", "all alike"])
def test_a_mask_with_a_small_effect_is_seen_also_where_the_example_had_none(mask: Tensor) -> None:
    for share in (1e-4, 1.0):
        model = Masked(share)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mm = ManifoldMixup(model, ["blocks.1"], example=IDS)  # nothing is wrong without a mask
        with pytest.warns(
            UserWarning, match=r"'blocks.1' is passed by 1 int64 \(8, 5\)|passed by mask int64"
        ):
            step_with_mask(mm, model, mask)


def step_with_mask(mm: ManifoldMixup, model: nn.Module, mask: Tensor) -> None:
    with mm(len(IDS)) as m:
        m.loss(F.cross_entropy, model(IDS, mask=mask), torch.zeros(8, dtype=torch.long))


class Answer:
    __slots__ = ("logits",)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Slotted(Heads):
    def forward(self, x: Tensor) -> Answer:
        return Answer(super().forward(x))


def test_outputs_in_objects_with_slots_are_seen() -> None:
    model = Slotted("shortcut")
    with (
        pytest.warns(UserWarning, match="passed by in training mode"),
        ManifoldMixup(model, ["blocks.1"])(8) as m,
    ):
        m.loss(F.cross_entropy, model(samples()).logits, torch.zeros(8, dtype=torch.long))


def test_what_takes_no_hooks_and_what_does_not_run_on_samples_is_named() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    with pytest.raises(ValueError, match=r"scripted or traced by torch\.jit, which takes no hooks"):
        ManifoldMixup(scripted, ["0"])
    whole = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4)), nn.Unflatten(0, (8, 1))
    )
    with pytest.raises(
        ValueError, match=r"layers='auto' runs the network on samples of the example.*name la"
    ):
        ManifoldMixup(whole, "auto", example=samples())


def test_labels_of_objects_are_refused_as_a_list() -> None:
    model = Heads("plain")
    targets = [{"boxes": torch.zeros(8, 4)} for _ in range(8)]  # as many objects as images: any order fits
    with pytest.raises(ValueError, match="labels are a list of dictionaries, which looks like one for each"):
        with ManifoldMixup(model, ["blocks.0"])(8) as m:
            m.loss(lambda out, y: out.sum(), model(samples()), targets)
