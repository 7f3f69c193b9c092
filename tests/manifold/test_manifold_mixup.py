"""Manifold Mixup on a small residual network: what it computes, when it keeps still, and when it refuses."""

from __future__ import annotations

import copy
import io
import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from latentmix.manifold.manifold_mixup import ManifoldMixup

LAYERS = ["input", "block1", "block2"]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class Net(nn.Module):
    """Stem, three residual blocks, head; `recompute` None or the use_reentrant of checkpointed blocks."""

    def __init__(self, recompute: bool | None = None, width: int = 6) -> None:
        super().__init__()
        self.recompute = recompute
        self.stem = nn.Linear(4, width)
        self.block1, self.block2, self.block3 = Residual(width), Residual(width), Residual(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in (self.block1, self.block2, self.block3):
            h = block(h) if self.recompute is None else checkpoint(block, h, use_reentrant=self.recompute)
        return self.head(h)


def net(recompute: bool | None = None, dtype: torch.dtype = torch.float64) -> Net:
    torch.manual_seed(0)
    return Net(recompute).to(dtype)


def batch(n: int = 8, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 4, generator=g, dtype=dtype), torch.randint(3, (n,), generator=g)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(model: Net, x: Tensor, layer: str, lam: Tensor, perm: Tensor) -> Tensor:
    """f(x) = g_k(lam h_k(x) + (1 - lam) h_k(x)[perm]), written out."""
    lam = lam.to(x.dtype).reshape(-1, 1)

    def mixed(name: str, h: Tensor) -> Tensor:
        return lam * h + (1 - lam) * h[perm] if name == layer else h

    h = model.stem(mixed("input", x))
    for name in ("block1", "block2", "block3"):
        h = mixed(name, getattr(model, name)(h))
    return model.head(h)


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("layer", LAYERS)
def test_hidden_states_labels_and_gradients_are_those_of_the_formula(layer: str, per: str) -> None:
    model, reference = net(), net()
    x, y = batch()
    mm = ManifoldMixup(model, [layer], per=per, generator=seeded())
    with mm(len(x)) as m:
        out = model(x)
        loss = m.loss(lambda out, y: F.cross_entropy(out, y, reduction="none"), out, y)
    expected = by_hand(reference, x, layer, m.lam, m.perm)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)  # lam is float32
    soft = m.target(y, 3).double()
    wanted = -(soft * expected.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=1e-7)
    loss.backward()
    wanted.backward()
    for ours, theirs in zip(gradients(model), gradients(reference)):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert m.layer == layer
    assert m.lam.shape == (() if per == "batch" else (8,))


def test_one_scalar_loss_and_per_sample_losses_agree_for_one_lam() -> None:
    model = net()
    x, y = batch()
    with ManifoldMixup(model, LAYERS, generator=seeded())(8) as m:
        out = model(x)
        scalar = m.loss(F.cross_entropy, out, y)
        each = m.loss(nn.CrossEntropyLoss(reduction="none"), out, y)
    torch.testing.assert_close(scalar, each)


def test_several_heads_regression_and_soft_labels() -> None:
    model = net()
    x, y = batch()
    real = x[:, 0]
    with ManifoldMixup(model, LAYERS, generator=seeded())(8) as m:
        out = model(x)

        def both(out: Tensor, y: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(out, y["kind"]) + F.mse_loss(out[:, 0], y["size"])

        loss = m.loss(both, out, {"kind": y, "size": real})
    lam, perm = m.lam, m.perm
    wanted = lam * both(out, {"kind": y, "size": real})
    wanted = wanted + (1 - lam) * both(out, {"kind": y[perm], "size": real[perm]})
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(m.target(real), lam * real + (1 - lam) * real[perm])
    assert torch.allclose(m.target(y, 3).sum(1), torch.ones(8))


def test_draws_follow_beta_and_the_layer_probabilities() -> None:
    mm = ManifoldMixup(net(), LAYERS, alpha=2.0, layer_probs=[0.5, 0.2, 0.3], generator=seeded())
    draws = [mm(4) for _ in range(3000)]
    lam = torch.stack([m.lam for m in draws])
    assert abs(lam.mean() - 1 / 2) < 0.01
    assert abs(lam.var() - 1 / 20) < 0.003  # of Beta(2, 2): 1 / (4 (2 alpha + 1))
    for name, p in zip(LAYERS, [0.5, 0.2, 0.3]):
        share = sum(m.layer == name for m in draws) / len(draws)
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / len(draws))
    partners = torch.stack([m.perm for m in draws]).double()
    assert partners.mean(0).sub(1.5).abs().max() < 0.1  # every sample meets every other


@pytest.mark.parametrize(("fold", "low", "high"), [("max", 0.5, 1.0), ("min", 0.0, 0.5), (None, 0.0, 1.0)])
def test_fold(fold: str | None, low: float, high: float) -> None:
    lam = torch.cat([ManifoldMixup(net(), LAYERS, per="sample", fold=fold)(200).lam])
    assert low <= lam.min()
    assert lam.max() <= high
    assert fold or (lam.min() < 0.3 and lam.max() > 0.7)


def test_a_generator_with_the_same_seed_repeats_every_draw() -> None:
    one, two = (ManifoldMixup(net(), LAYERS, generator=seeded(5)) for _ in range(2))
    for _ in range(5):
        a, b = one(6), two(6)
        assert (a.layer, a.lam.item(), a.perm.tolist()) == (b.layer, b.lam.item(), b.perm.tolist())


def test_identity_outside_the_context_in_evaluation_mode_and_after_remove() -> None:
    model, reference = net(), net()
    keys = list(model.state_dict())
    x, y = batch(1)
    mm = ManifoldMixup(model, LAYERS)
    assert list(model.state_dict()) == keys
    assert torch.equal(model(x), reference(x))
    model.eval()
    with mm(1) as m:  # a batch of one may be evaluated
        out = model(x)
        loss = m.loss(F.cross_entropy, out, y)
    assert torch.equal(out, reference(x))
    assert torch.equal(loss, F.cross_entropy(out, y))
    assert torch.equal(m.target(y, 3), F.one_hot(y, 3).float())
    assert (m.layer, m.lam.item()) == (None, 1.0)
    model.train()
    mm.remove()
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    with pytest.raises(RuntimeError, match="removed"):
        mm(8)
    assert ManifoldMixup(model, LAYERS).layers == LAYERS


def test_copies_and_pickles_are_inert() -> None:
    model, reference = net(), net()
    x, _ = batch()
    mm = ManifoldMixup(model, LAYERS)
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    for teacher in (copy.deepcopy(model), torch.load(stored, weights_only=False)):
        with mm(8) as m:
            assert torch.equal(teacher(x), reference(x))
            assert not torch.equal(model(x), reference(x))
        assert m.perm.shape == (8,)  # whoever reads it mixes labels by hand
        ManifoldMixup(teacher, LAYERS)  # free for one of its own


def test_autocast_keeps_the_precision_of_the_layer() -> None:
    model = net(dtype=torch.float32)
    x, y = batch(dtype=torch.float32)
    mm = ManifoldMixup(model, ["block1"], generator=seeded())
    seen = []
    model.block2.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16), mm(8) as m:
        loss = m.loss(F.cross_entropy, model(x), y)
    loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        model.block1(model.stem(x))
        expected = model.block1(model.stem(x)).dtype
    assert seen[-3] == expected  # the mixed pass; two plain ones came after
    assert m.lam.dtype == loss.dtype == torch.float32


def test_gradients_accumulate_over_micro_batches_with_draws_of_their_own() -> None:
    model, reference = net(), net()
    mm = ManifoldMixup(model, LAYERS, generator=seeded())
    for n in (8, 5):  # the last batch is odd
        x, y = batch(n)
        with mm(n) as m:
            m.loss(F.cross_entropy, model(x), y).backward()
        out = by_hand(reference, x, m.layer, m.lam, m.perm)
        (m.lam * F.cross_entropy(out, y) + (1 - m.lam) * F.cross_entropy(out, y[m.perm])).backward()
    for ours, theirs in zip(gradients(model), gradients(reference)):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("detach", [False, True])
def test_gradient_blocking_gives_zeros_below_the_layer_only(detach: bool) -> None:
    model = net()
    x, y = batch()
    with ManifoldMixup(model, ["block2"], detach=detach)(8) as m:
        m.loss(F.cross_entropy, model(x), y).backward()
    below = [*model.stem.parameters(), *model.block1.parameters(), *model.block2.parameters()]
    above = [*model.block3.parameters(), *model.head.parameters()]
    assert all((p.grad == 0).all() == detach for p in below)
    assert all((p.grad != 0).any() for p in above)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_repeats_the_draw(reentrant: bool) -> None:
    plain, saving = net(), net(recompute=reentrant)
    x, y = batch()
    x.requires_grad_()  # or reentrant checkpointing drops the gradient
    one, two = (ManifoldMixup(model, LAYERS, generator=seeded(3)) for model in (plain, saving))
    for mixed in (True, True, False, True, False, False, True):
        for model, mm in ((plain, one), (saving, two)):
            if mixed:
                with mm(8) as m:
                    loss = m.loss(F.cross_entropy, model(x), y)
            else:
                loss = F.cross_entropy(model(x), y)
            loss.backward()  # after the context has closed
        for ours, theirs in zip(gradients(plain), gradients(saving)):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("order", ["sum", "first first", "second first", "twice"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_passes_are_told_apart(reentrant: bool, order: str) -> None:
    plain, saving = net(), net(recompute=reentrant)
    x, y = batch()
    x.requires_grad_()
    for model in (plain, saving):
        mm = ManifoldMixup(model, LAYERS, generator=seeded(7))
        losses = []
        for _ in range(2):
            with mm(8) as m:
                losses.append(m.loss(F.cross_entropy, model(x), y))
        losses.append(F.cross_entropy(model(x), y))
        if order == "sum":
            sum(losses).backward()
        elif order == "twice":
            torch.stack(losses[1:]).sum().backward(retain_graph=True)
            losses[0].backward()
            losses[1].backward()
        else:
            for loss in losses if order == "first first" else losses[::-1]:
                loss.backward()
    for ours, theirs in zip(gradients(plain), gradients(saving)):
        torch.testing.assert_close(ours, theirs)


Pair = namedtuple("Pair", "tokens states")


@dataclass
class Output:
    tokens: Tensor
    states: Tensor | None = None


SHAPES = {
    "tuple": lambda i, h: (i, h, h),
    "list": lambda i, h: [i, h],
    "namedtuple": Pair,
    "dict": lambda i, h: OrderedDict(tokens=i, states=h),
    "dataclass": Output,
    "nested": lambda i, h: (i, {"inner": Output(i, h)}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_real_tensor_of_a_structured_output_is_mixed_and_nothing_in_place(shape: str) -> None:
    class Block(nn.Module):
        def forward(self, x: Tensor) -> object:
            self.gave = SHAPES[shape](torch.arange(len(x)), x * 1)
            return self.gave

    model = nn.Sequential(OrderedDict(block=Block()))
    x, _ = batch()
    with ManifoldMixup(model, ["block"], generator=seeded())(8) as m:
        out = model(x)

    def parts(value: object) -> list[Tensor]:
        if isinstance(value, Tensor):
            return [value]
        if isinstance(value, dict):
            value = list(value.values())
        return [
            t for v in (value if isinstance(value, tuple | list) else vars(value).values()) for t in parts(v)
        ]

    tokens = parts(out)[0]
    states, *rest = (t for t in parts(out) if t.is_floating_point())
    lam = m.lam.double()
    assert type(out) is type(model.block.gave)
    assert torch.equal(tokens, torch.arange(8))
    torch.testing.assert_close(states, lam * x + (1 - lam) * x[m.perm], rtol=1e-6, atol=1e-7)
    assert all(torch.equal(t, x) for t in rest)
    assert all(torch.equal(t, x) for t in parts(model.block.gave) if t.is_floating_point())


def test_a_layer_without_real_numbers_is_refused() -> None:
    model = nn.Sequential(OrderedDict(names=nn.Embedding(5, 3)))
    tokens = torch.tensor([1, 2])
    with pytest.raises(ValueError, match="tokens"), ManifoldMixup(model, ["input"])(2):
        model(tokens)


def test_keyword_inputs_are_mixed() -> None:
    class Keyword(nn.Module):
        def forward(self, *, mask: Tensor, pixels: Tensor) -> Tensor:
            return pixels * 1

    model = Keyword()
    x, _ = batch()
    with ManifoldMixup(model, ["input"])(8) as m:
        out = model(mask=torch.ones(8, dtype=torch.long), pixels=x)
    lam = m.lam.double()
    torch.testing.assert_close(out, lam * x + (1 - lam) * x[m.perm], rtol=1e-6, atol=1e-7)


def test_one_compiled_graph_serves_every_draw() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    model, eager = net(), net()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    layers = ["block1", "block2"]
    one, two = (ManifoldMixup(m, layers, detach=False, generator=seeded()) for m in (model, eager))
    x, y = batch()
    drawn = set()
    for _ in range(50):
        with one(8) as m:
            loss = m.loss(F.cross_entropy, compiled(x), y)
        with two(8) as n:
            wanted = n.loss(F.cross_entropy, eager(x), y)
        torch.testing.assert_close(loss, wanted)
        torch.testing.assert_close(
            torch.autograd.grad(loss, model.stem.weight), torch.autograd.grad(wanted, eager.stem.weight)
        )
        drawn.add(m.layer)
    assert drawn == set(layers)
    assert counter.frame_count == 1
    with pytest.raises(RuntimeError, match="never reached"), one(8):
        pass
