"""One `Mix` for everything: own partners and weights, regions, two batches; and masks, layers, accuracy."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.mixing import Bernoulli, Mix, Mixup, pair
from latentmix.mixing.mixers import Region, Spherical


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


def data(n: int = 6) -> tuple[Tensor, Tensor]:
    g = seeded(1)
    return torch.randn(n, 2, 4, 4, generator=g), torch.randint(3, (n,), generator=g)


def each(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y, reduction="none")


def soft(out: Tensor, target: Tensor) -> Tensor:
    return -(target * out.log_softmax(1)).sum(1).mean()


MIXERS = [
    Mixup(),
    Mixup(k=3),
    Mixup(per="unit"),
    Bernoulli(),
    Bernoulli(k=3),
    Region(),
    Region(k=4),
    Spherical(),
]


@pytest.mark.parametrize("mixer", MIXERS, ids=repr)
@pytest.mark.parametrize("layer", [0, 2])
def test_any_mix_in_a_hidden_layer(mixer: object, layer: int) -> None:
    """CutMix's regions and Bernoulli's masks included; labels by the share of each parent."""
    model, (x, y) = net(), data()
    mix = mixer(torch.empty(6, 4, 4, 4), seeded(2))
    mm = ManifoldMixup(model, ["0", "2"])
    with mm(mix, layer=str(layer)) as m:
        out = model(x)
        loss, target = m.loss(each, out, y), m.target(y, 3)
    h = mix(model[: layer + 1](x))
    torch.testing.assert_close(out, model[layer + 1 :](h))
    torch.testing.assert_close(target, mix.labels(y, 3))
    torch.testing.assert_close(loss, soft(out, mix.labels(y, 3)))
    assert m.layer == str(layer)


def test_partners_of_ones_own_choice_and_one_weight_for_all() -> None:
    model, (x, y) = net(), data()
    nearest = torch.tensor([3, 3, 3, 0, 0, 1])  # C-Mixup's: by the distance of labels, with repeats
    with ManifoldMixup(model, ["0"])(pair(nearest, 0.75)) as m:
        out = model(x)
        loss = m.loss(F.cross_entropy, out, y)
    assert m.lam == 0.75  # one number, so that a criterion may return one
    torch.testing.assert_close(
        loss, 0.75 * F.cross_entropy(out, y) + 0.25 * F.cross_entropy(out, y[nearest]), rtol=1e-6, atol=1e-6
    )


def test_two_batches_are_mixed_with_each_other() -> None:
    """The i-th labelled image with the i-th unlabelled one, whose label is a guess."""
    model, (x, y) = net(), data(4)
    u, guess = torch.randn(4, 2, 4, 4, generator=seeded(5)), torch.rand(4, 3, generator=seeded(6)).softmax(1)
    lam = torch.rand(4, generator=seeded(7))
    mix = pair(torch.arange(8).roll(4), torch.cat([lam, lam]))
    with ManifoldMixup(model, ["2"])(mix) as m:
        out = model(torch.cat([x, u]))[:4]
        target = m.target(torch.cat([F.one_hot(y, 3).float(), guess]))[:4]
    w = lam[:, None]
    torch.testing.assert_close(target, w * F.one_hot(y, 3) + (1 - w) * guess)
    h = lam[:, None, None, None] * model[:3](x) + (1 - lam)[:, None, None, None] * model[:3](u)
    torch.testing.assert_close(out, model[3:](h))


def test_a_mix_must_fit() -> None:
    model, (x, _) = net(), data()
    mm = ManifoldMixup(model, ["0"])
    with pytest.raises(
        ValueError, match=r"'0' holds \(6, 4, 4, 4\).*weights of shape \(2, 6, 1, 3, 3\) do not fit"
    ):
        with mm(Region()(torch.empty(6, 4, 3, 3))):
            model(x)
    with pytest.raises(ValueError, match="batch itself in its first row"):
        mm(Mix(torch.tensor([[1, 0], [0, 1]]), torch.full((2, 2), 0.5)))
    with pytest.raises(ValueError, match="draw was for a batch of 5"):
        with mm(pair(torch.arange(5), 0.5)):
            model(x)
    with pytest.raises(ValueError, match="layer='1' is not one of 0"):
        mm(6, layer="1")


def test_alpha_for_one_pass() -> None:
    mm = ManifoldMixup(net(), ["0"], alpha=2.0, generator=seeded())
    corners = torch.stack([mm(6, alpha=0.01).lam for _ in range(200)])
    assert ((corners - 0.5).abs() > 0.49).float().mean() > 0.9
    assert abs(torch.stack([mm(6).lam for _ in range(300)]).var() - 1 / 20) < 0.01
    with pytest.raises(ValueError, match="alpha=0"):
        mm(6, alpha=0.0)


def test_a_generator_for_one_pass() -> None:
    mm, other = (ManifoldMixup(net(), ["0", "2"], generator=seeded(i)) for i in range(2))
    state = mm.generator.get_state()
    one, two = mm(6, generator=seeded(9)), other(6, generator=seeded(9))
    assert (one.layer, float(one.lam), one.perm.tolist()) == (two.layer, float(two.lam), two.perm.tolist())
    assert torch.equal(mm.generator.get_state(), state)


def test_several_mixups_on_one_model_take_turns() -> None:
    model, (x, y) = net(), data()
    sharp = ManifoldMixup(model, ["0"], alpha=0.1, generator=seeded(1))
    broad = ManifoldMixup(model, ["0", "2", "input"], alpha=2.0, generator=seeded(2))
    for mm in (sharp, broad, sharp, broad, broad, broad):
        with mm(6) as m:
            out = model(x)
            m.loss(F.cross_entropy, out, y)

        def mixed(name: str, h: Tensor, m: object = m) -> Tensor:
            return m.lam * h + (1 - m.lam) * h[m.perm] if name == m.layer else h

        h = mixed("2", model[2](model[1](mixed("0", model[0](mixed("input", x))))))
        torch.testing.assert_close(out, model[4](model[3](h)))
    with pytest.raises(RuntimeError, match="another forward pass is open"), sharp(6), broad(6):
        pass
    inner = ManifoldMixup(model[0], ["input"])
    with pytest.raises(RuntimeError, match="another forward pass is open"), sharp(6), inner(6):
        pass  # of a part of it, too
    other = net()
    with broad(6) as m, ManifoldMixup(other, ["0"])(6) as n:  # another network is another matter
        m.loss(F.cross_entropy, model(x), y)
        n.loss(F.cross_entropy, other(x), y)


def test_several_mixups_and_checkpointing() -> None:
    gradients = []
    for saving in (False, True):
        model, (x, y) = net(), data()
        a = ManifoldMixup(model, ["0"], alpha=0.5, generator=seeded(1))
        b = ManifoldMixup(model, ["0", "2"], generator=seeded(2))

        def forward(x: Tensor, model: nn.Sequential = model, saving: bool = saving) -> Tensor:
            h = checkpoint(model[:3], x, use_reentrant=False) if saving else model[:3](x)
            return model[3:](h)

        losses = []
        for mm in (a, b, a, b):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # parts of it are called, not the whole
                with mm(6) as m:
                    losses.append(m.loss(F.cross_entropy, forward(x), y))
        sum(losses).backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, saved in zip(*gradients):
        torch.testing.assert_close(saved, plain)


@pytest.mark.parametrize("detach", [False, True])
def test_a_layer_for_each_sample(detach: bool) -> None:
    model, (x, y) = net(), data(16)
    layers = ["input", "0", "2"]
    mm = ManifoldMixup(model, layers, layer_per="sample", detach=detach, generator=seeded(3))
    with mm(16) as m:
        out = model(x)
        loss = m.loss(F.cross_entropy, out, y)
    assert len(m.layer) == 16
    assert set(m.layer) == set(layers)
    assert all(m.layer[p] == m.layer[b] for b, p in enumerate(m.perm.tolist()))
    for b, name in enumerate(m.layer):  # as if the whole batch were mixed in the layer of this sample
        with ManifoldMixup(model, layers)(pair(m.perm, float(m.lam)), layer=name) as n:
            alone = model(x)
        assert n.perm is not None
        torch.testing.assert_close(out[b], alone[b])
    torch.testing.assert_close(
        loss, m.lam * F.cross_entropy(out, y) + (1 - m.lam) * F.cross_entropy(out, y[m.perm])
    )


def test_a_layer_for_each_sample_by_name() -> None:
    model, (x, y) = net(), data(4)
    mm = ManifoldMixup(model, ["0", "2"])
    names = ["0", "2", "0", "2"]
    with mm(pair(torch.tensor([2, 3, 0, 1]), 0.5), layer=names) as m:
        m.loss(F.cross_entropy, model(x), y)
    with mm(4, layer=names) as m:
        m.loss(F.cross_entropy, model(x), y)
    assert all(names[p] == names[b] for b, p in enumerate(m.perm.tolist()))
    with pytest.raises(ValueError, match="mixed in the same layer"):
        mm(pair(torch.tensor([1, 0, 3, 2]), 0.5), layer=names)
    with pytest.raises(ValueError, match="2 names for a batch of 4"):
        mm(4, layer=["0", "2"])


def test_one_compiled_graph_serves_every_mix_of_whole_samples() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    model, (x, y) = net(), data()
    mm = ManifoldMixup(model, ["0", "2"], layer_per="sample", generator=seeded(), example=x)
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for alpha in (0.1, 2.0, 5.0):
        with mm(6, alpha=alpha) as m:
            m.loss(F.cross_entropy, compiled(x), y)
    with mm(pair(torch.tensor([5, 4, 3, 3, 3, 3]), 0.5), layer="2") as m:
        out = compiled(x)
        m.loss(F.cross_entropy, out, y)
    h = m._mix(model[:3](x))
    torch.testing.assert_close(out, model[3:](h))
    assert counter.frame_count == 1


def test_accuracy_of_a_mixed_batch_counts_both_labels() -> None:
    model, (x, y) = net(), data()
    with ManifoldMixup(model, ["0"])(pair(torch.tensor([1, 0, 3, 2, 5, 4]), 0.25)) as m:
        out = model(x)
        m.loss(F.cross_entropy, out, y)
    guess = out.argmax(1)
    wanted = 0.25 * (guess == y).float() + 0.75 * (guess == y[m.perm]).float()
    torch.testing.assert_close(m.accuracy(out, y), wanted.mean())
    assert m.accuracy(F.one_hot(y, 3).float(), y) >= 0.25
    with pytest.raises(ValueError, match="the labels have"):
        m.accuracy(out, y[:, None])
    model.eval()
    with ManifoldMixup(model, ["0"])(6) as m:
        assert m.accuracy(F.one_hot(y, 3).float(), y) == 1.0


class Attention(nn.Module):
    """A block that takes a padding mask, and has a part inside that takes it too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = Weigh(width)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        return h + self.inner(h, mask=mask[:, :])  # another tensor object


class Weigh(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.score, self.value = nn.Linear(width, 1), nn.Linear(width, width)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        score = self.score(h).masked_fill(~mask[..., None], -1e9).softmax(1)
        return (score * self.value(h)).sum(1, keepdim=True)


class Encoder(nn.Module):
    def __init__(self, saving: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.saving = saving
        self.embed = nn.Embedding(20, 8)
        self.layers = nn.ModuleList(Attention(8) for _ in range(3))
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        h = self.embed(ids)
        for layer in self.layers:
            h = checkpoint(layer, h, mask, use_reentrant=False) if self.saving else layer(h, mask)
        return self.head(h[:, 0])


def padded() -> tuple[Tensor, Tensor, Tensor]:
    g = seeded(4)
    mask = torch.arange(7) < torch.tensor([7, 3, 5, 2, 6, 4])[:, None]
    return torch.randint(20, (6, 7), generator=g), mask, torch.randint(3, (6,), generator=g)


@pytest.mark.parametrize("saving", [False, True])
@pytest.mark.parametrize("layer", ["embed", "layers.0", "layers.1"])
def test_padding_masks_are_merged_from_the_mixed_layer_on(layer: str, saving: bool) -> None:
    model, by_hand = Encoder(saving), Encoder()
    ids, mask, y = padded()
    mm = ManifoldMixup(model, ["embed", "layers.0", "layers.1"], masks={"mask": torch.logical_or})
    with mm(6, layer=layer) as m:
        out = model(ids, mask)
        m.loss(F.cross_entropy, out, y).backward()
    h, seen = by_hand.embed(ids), mask
    for name, block in [("embed", None), *((f"layers.{i}", block) for i, block in enumerate(by_hand.layers))]:
        h = h if block is None else block(h, seen)
        if name == layer:
            h, seen = m.lam * h + (1 - m.lam) * h[m.perm], mask | mask[m.perm]
    expected = by_hand.head(h[:, 0])
    torch.testing.assert_close(out, expected)
    loss = m.lam * F.cross_entropy(expected, y) + (1 - m.lam) * F.cross_entropy(expected, y[m.perm])
    loss.backward()
    for ours, theirs in zip(model.parameters(), by_hand.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_masks_and_a_layer_for_each_sample() -> None:
    ids, mask, y = padded()
    gradients = []
    for saving in (False, True):
        model = Encoder(saving)
        layers = ["embed", "layers.0", "layers.1"]
        mm = ManifoldMixup(
            model, layers, masks={"mask": torch.logical_or}, layer_per="sample", generator=seeded(8)
        )
        with mm(6) as m:
            out = model(ids, mask)
            m.loss(F.cross_entropy, out, y).backward()
        gradients.append([p.grad for p in model.parameters()])
    for b, name in enumerate(m.layer):
        alone = ManifoldMixup(model, layers, masks={"mask": torch.logical_or})
        with alone(pair(m.perm, float(m.lam)), layer=name) as n:
            torch.testing.assert_close(model(ids, mask)[b], out[b])
        assert n.perm is not None
        alone.remove()
    for plain, saved in zip(*gradients):
        torch.testing.assert_close(saved, plain)


def test_masks_that_pass_a_layer_by_are_said_to() -> None:
    model, (ids, mask, y) = Encoder(), padded()
    with pytest.warns(UserWarning, match=r"'layers.0' is passed by 1 bool \(6, 7\).*masks="):
        with ManifoldMixup(model, ["layers.0"])(6) as m:
            m.loss(F.cross_entropy, model(ids, mask), y)
    with pytest.warns(UserWarning, match=r"'layers.0' is passed by mask bool \(6, 7\), the same for these"):
        with ManifoldMixup(model, ["layers.0"])(6) as m:
            m.loss(F.cross_entropy, model(ids, mask=torch.ones_like(mask)), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shown in (mask, torch.ones_like(mask)):
            with ManifoldMixup(model, ["layers.0"], masks={"mask": torch.logical_or})(6) as m:
                m.loss(F.cross_entropy, model(ids, mask=shown), y)
    with pytest.raises(ValueError, match="takes an argument 'padding'"):
        ManifoldMixup(model, ["layers.0"], masks={"padding": torch.logical_or})
