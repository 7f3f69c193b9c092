"""What would be wrong without a word in somebody's network: it is right, or one sentence says what to do."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.mixing import pair


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Recurrent(nn.Module):
    """A classifier of sequences; `last` uses the final state, else the outputs of all steps."""

    def __init__(self, last: bool, batch_first: bool) -> None:
        super().__init__()
        self.last, self.batch_first = last, batch_first
        self.embed = nn.Linear(6, 6)
        self.lstm = nn.LSTM(6, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps, (state, _) = self.lstm(self.embed(x).tanh())
        return self.head(state[-1] if self.last else steps.mean(1 if self.batch_first else 0))


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, h: Tensor) -> Tensor:
        return h + self.inner(h)


def residual() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), Branch(), Branch(), nn.Linear(4, 3))


def test_a_layer_whose_tensor_nothing_uses_is_refused() -> None:
    model = Recurrent(last=True, batch_first=True)
    with pytest.raises(ValueError, match=r"mixing layer 'lstm' changes nothing.*check=False"):
        with ManifoldMixup(model, ["lstm"])(5):
            model(torch.randn(5, 7, 6))
    used = Recurrent(last=False, batch_first=True)
    with ManifoldMixup(used, ["lstm"])(5) as m:
        m.loss(F.cross_entropy, used(torch.randn(5, 7, 6)), torch.zeros(5).long())


@pytest.mark.parametrize("layer", ["lstm", "embed", "input"])
@pytest.mark.parametrize("steps", [5, 7])
def test_time_is_not_taken_for_the_batch(layer: str, steps: int) -> None:
    """As many steps as samples: no shape tells them apart."""
    model, x, y = (
        Recurrent(last=False, batch_first=False),
        torch.randn(steps, 5, 6),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    with pytest.raises(ValueError, match="batch_dim"):
        with ManifoldMixup(model, [layer])(5):
            model(x)
    with pytest.raises(ValueError, match="batch_dim"):
        ManifoldMixup(model, [layer], example=x)
    with ManifoldMixup(model, [layer], batch_dim=1, generator=seeded())(5) as m:
        out = model(x)
        m.loss(F.cross_entropy, out, y)

    def mixed(name: str, h: Tensor) -> Tensor:
        return m.lam * h + (1 - m.lam) * h[:, m.perm] if name == layer else h

    h = mixed("lstm", model.lstm(mixed("embed", model.embed(mixed("input", x))).tanh())[0])
    torch.testing.assert_close(out, model.head(h.mean(0)))


def test_a_batch_dimension_for_each_layer() -> None:
    model, x = Recurrent(last=False, batch_first=False), torch.randn(5, 5, 6)
    mm = ManifoldMixup(model, ["input", "head"], batch_dim={"input": 1})
    assert mm.batch_dims == [1, 0]
    assert [layer.shape for layer in mm.eligible(x)] == [(5, 5, 6), (5, 3)]
    with pytest.raises(ValueError, match="batch_dim names lstm"):
        ManifoldMixup(model, ["head"], batch_dim={"lstm": 1})


def test_a_layer_inside_a_residual_branch_is_named_in_a_warning() -> None:
    model, x = residual(), torch.randn(6, 4)
    with pytest.warns(UserWarning, match=r"layer '1.inner' is passed by.*Name the output of the whole block"):
        with ManifoldMixup(model, ["1.inner"])(6) as m:
            m.loss(F.cross_entropy, model(x), torch.zeros(6).long())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({"layers": ["1", "2"]}, {"layers": ["1.inner"], "check": False}):
            with ManifoldMixup(model, **options)(6) as m:
                m.loss(F.cross_entropy, model(x), torch.zeros(6).long())


def test_the_examination_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    twin, x, y = copy.deepcopy(model), torch.randn(6, 4), torch.zeros(6).long()
    results = []
    for net, check in ((model, True), (twin, False)):
        torch.manual_seed(3)
        with ManifoldMixup(net, ["input", "1"], check=check, generator=seeded())(6) as m:
            loss = m.loss(F.cross_entropy, net(x), y)
        results += [loss, net[1].running_mean, net[1].num_batches_tracked, torch.rand(3)]
    for ours, theirs in zip(results[:4], results[4:]):
        assert torch.equal(ours, theirs)
    assert all(module.training for module in model.modules())


def test_what_cannot_be_examined_is_said_once() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            assert len(x) == 6, "always six"
            return self.b(self.a(x))

    model, x, y = Odd(), torch.randn(6, 4), torch.zeros(6).long()
    mm = ManifoldMixup(model, ["a"])
    with pytest.warns(UserWarning, match="unexamined.*always six"), mm(6) as m:
        m.loss(F.cross_entropy, model(x), y)
    other = ManifoldMixup(residual(), ["1"])
    with pytest.warns(UserWarning, match="unexamined.*compiled, or not called as a whole"), other(6) as m:
        m.loss(F.cross_entropy, other.model[3](other.model[1](x)), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with mm(6) as m:
            m.loss(F.cross_entropy, model(x), y)
        with other(6) as m:
            m.loss(F.cross_entropy, other.model[3](other.model[1](x)), y)


def test_weights_that_start_at_zero_hide_nothing() -> None:
    model, x, y = residual(), torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    nn.init.zeros_(model[3].weight)
    nn.init.zeros_(model[1].inner[0].weight)
    with pytest.warns(UserWarning, match="passed by"), ManifoldMixup(model, ["1.inner"])(6) as m:
        m.loss(F.cross_entropy, model(x), y)
    assert not model[3].weight.any()
    assert ManifoldMixup(model, example=x).layers == ["1"]


def test_samples_that_are_all_alike_show_nothing_and_are_examined_later() -> None:
    model, x, y = residual(), torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    mm = ManifoldMixup(model, ["1.inner"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with mm(6) as m:
            m.loss(F.cross_entropy, model(x[:1].expand(6, 4)), y)
    with pytest.warns(UserWarning, match="passed by"), mm(6) as m:
        m.loss(F.cross_entropy, model(x), y)
    with pytest.raises(ValueError, match="same answer for all samples"):
        ManifoldMixup(nn.Sequential(*(Branch() for _ in range(3)), Zero()), example=x)


def quiet(model: nn.Module, layers: list[str], *inputs: Tensor) -> None:
    """One mixed pass, in which nothing may be said."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ManifoldMixup(model, layers)(6) as m:
            model(*inputs)
        assert m.perm is not None


def test_networks_that_look_odd_and_are_right() -> None:
    class Noisy(nn.Module):
        """Draws numbers in evaluation mode too, as a variational autoencoder does."""

        def __init__(self) -> None:
            super().__init__()
            self.net = residual()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x + torch.randn_like(x))

    class Contrast(nn.Module):
        """All with all: the outputs of a sample stand in a row and in a column."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x) @ self.b(y).T

    class Flattened(nn.Module):
        """Scores of words, all in one row."""

        def __init__(self) -> None:
            super().__init__()
            self.net = residual()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            out = self.net(x)
            return out.flatten(0, 1), out.square().mean()

    class Features(nn.Module):
        """Gives out what it knew on the way, besides logits; and a table of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.net, self.prototypes = residual(), nn.Parameter(torch.randn(5, 4))

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            h = self.net[0](x)
            out = self.net[1:](h)
            return {
                "loss": F.cross_entropy(out, labels),
                "logits": out,
                "h": h,
                "prototypes": self.prototypes,
            }

    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    quiet(Noisy(), ["net.1"], x)
    quiet(Flattened(), ["net.1"], torch.randn(6, 7, 4))
    quiet(Features(), ["net.1"], x, y)
    with pytest.warns(UserWarning, match="other samples"), ManifoldMixup(Contrast(), ["input"])(6) as m:
        m._owner.model(x, torch.randn(6, 4))
    with pytest.warns(UserWarning, match="passed by"), ManifoldMixup(Noisy(), ["net.1.inner"])(6) as m:
        m._owner.model(x)


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.table, self.words = nn.Linear(4, 4), nn.Linear(3, 4), nn.Embedding(9, 4)

    def forward(self, image: Tensor, table: Tensor | None = None, words: Tensor | None = None) -> Tensor:
        h = self.image(image)
        h = h if table is None else h + self.table(table)
        return h if words is None else h + self.words(words).mean(1)


def test_all_real_inputs_of_the_batch_are_mixed() -> None:
    model, image, table = TwoInputs(), torch.randn(5, 4), torch.randn(5, 3)
    with ManifoldMixup(model, ["input"])(5) as m:
        out = model(image, table=table)
    lam, perm = m.lam, m.perm
    torch.testing.assert_close(out, lam * model(image, table) + (1 - lam) * model(image, table)[perm])


def test_inputs_that_cannot_be_mixed_are_named() -> None:
    model, image = TwoInputs(), torch.randn(5, 4)
    words = torch.randint(9, (5, 7))
    with pytest.raises(ValueError, match=r"'input' cannot mix words int64 \(5, 7\).*embedding"):
        with ManifoldMixup(model, ["input"])(5):
            model(image, words=words)

    class Masked(nn.Module):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return F.one_hot(ids, 9).float().mean(1) * mask.sum(1, keepdim=True)

    with pytest.raises(ValueError, match=r"'input' cannot mix 0 int64 \(5, 7\)"):
        with ManifoldMixup(Masked().train(), ["input"])(5) as m:
            m._owner.model(words, torch.rand(5, 7))


def test_checkpointed_gradients_whatever_carries_them() -> None:
    """An output object, or a stored feature: nothing that the model returns leads to the loss."""

    class Net(nn.Module):
        def __init__(self, saving: bool | None, gives: str) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.saving, self.gives = saving, gives
            self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
            self.blocks = nn.ModuleList(Branch() for _ in range(3))

        def forward(self, x: Tensor) -> object:
            h = self.stem(x)
            for block in self.blocks:
                h = block(h) if self.saving is None else checkpoint(block, h, use_reentrant=self.saving)
            logits = self.head(h)
            if self.gives == "object":
                return Answer(logits)
            if self.gives == "namespace":
                return SimpleNamespace(logits=logits)
            self.stored = logits
            return torch.zeros(len(x), 1)

    class Answer:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    for gives in ("object", "namespace", "stored"):
        gradients = []
        for saving in (None, False, True):
            model = Net(saving, gives)
            mm = ManifoldMixup(model, ["blocks.0", "blocks.1"], generator=seeded(4), check=gives != "stored")
            losses = []
            for _ in range(3):
                with mm(6) as m:
                    out = model(x)
                    losses.append(
                        m.loss(F.cross_entropy, model.stored if gives == "stored" else out.logits, y)
                    )
            with torch.no_grad():
                model(x)
            (losses[2] + losses[0]).backward()
            losses[1].backward()
            gradients.append([p.grad for p in model.parameters()])
        for plain, new, old in zip(*gradients):
            torch.testing.assert_close(new, plain)
            torch.testing.assert_close(old, plain)


def test_nested_checkpoints_of_either_kind() -> None:
    gradients = []
    for saving in (None, False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), Branch(), Branch(), Branch(), nn.Linear(4, 3))
        x, y = torch.randn(6, 4, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 2])

        def forward(x: Tensor, model: nn.Sequential = model, saving: bool | None = saving) -> Tensor:
            if saving is None:
                return model(x)

            def inner(h: Tensor) -> Tensor:
                return model[3](model[2](h))

            def outer(h: Tensor) -> Tensor:
                return checkpoint(inner, model[1](h), use_reentrant=saving)

            return model[4](checkpoint(outer, model[0](x), use_reentrant=saving))

        mm = ManifoldMixup(model, ["1", "2", "3"], generator=seeded(1), check=False)
        losses = []
        for _ in range(4):
            with mm(6) as m:
                losses.append(m.loss(F.cross_entropy, forward(x), y))
        forward(x)
        for loss in losses[::-1]:
            loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, new, old in zip(*gradients):
        torch.testing.assert_close(new, plain)
        torch.testing.assert_close(old, plain)


def test_a_pass_too_far_back_is_refused_and_not_guessed() -> None:
    model, x, y = residual(), torch.randn(6, 4), torch.zeros(6).long()
    mm = ManifoldMixup(model, ["1"], check=False)
    with mm(6) as m:
        h = checkpoint(model[1], model[0](x), use_reentrant=False)
        first = m.loss(F.cross_entropy, model[3](h), y)
    for _ in range(100):
        with mm(6) as m:
            m.loss(F.cross_entropy, model(x), y)
    with pytest.raises(RuntimeError, match="more than 64 mixed passes"):
        first.backward()


def test_labels_that_were_never_mixed_stop_the_next_draw() -> None:
    model, x, y = residual(), torch.randn(6, 4), torch.zeros(6).long()
    mm = ManifoldMixup(model, ["1"])
    with mm(6) as m:
        F.cross_entropy(model(x), y)
    with pytest.raises(RuntimeError, match="mixed layer '1' and never its labels"):
        mm(6)
    with mm(6) as m:  # the error has been said
        out = model(x)
    by_hand = m.lam * F.cross_entropy(out, y) + (1 - m.lam) * F.cross_entropy(out, y[m.perm])
    assert by_hand.requires_grad
    with mm(6) as m:
        m.target(y, 3)
        model(x)
    with pytest.raises(ZeroDivisionError), mm(6):
        _ = 1 / 0
    model.eval()
    with mm(6):
        model(x)
    mm(6)


def test_the_output_of_another_pass_is_refused() -> None:
    model, x, y = residual(), torch.randn(6, 4), torch.zeros(6).long()
    mm = ManifoldMixup(model, ["1"])
    plain = model(x)
    with mm(6) as first:
        first.loss(F.cross_entropy, model(x), y)
    with mm(6) as second:
        out = model(x)
        second.loss(F.cross_entropy, out, y)
    with pytest.raises(ValueError, match="another mixed pass"):
        first.loss(F.cross_entropy, out, y)
    with pytest.raises(ValueError, match="outside of the context"):
        second.loss(F.cross_entropy, plain, y)
    with mm(6) as third:
        part = model(x)[:, :2]
        third.loss(F.cross_entropy, part, y)
    with pytest.raises(ValueError, match="another mixed pass"):
        first.loss(F.cross_entropy, part, y)
    compiled = torch.compile(model, backend="eager")
    with mm(6) as fourth:
        out = compiled(x)
        fourth.loss(F.cross_entropy, out, y)
    with pytest.raises(ValueError, match="another mixed pass"):
        third.loss(F.cross_entropy, out, y)
    sharp = ManifoldMixup(model, ["2"])
    with sharp(6) as fifth:
        out = model(x)
        fifth.loss(F.cross_entropy, out, y)
    with pytest.raises(ValueError, match="another mixed pass"):
        fourth.loss(F.cross_entropy, out, y)


@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("spell", ["module", "partial", "function"])
@pytest.mark.parametrize("ignored", [-100, 255, -1])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_value_counts_as_the_criterion_itself_would_count_it(
    per: str, spell: str, ignored: int, weighted: bool
) -> None:
    from functools import partial

    if weighted and spell == "function":
        pytest.skip("nothing tells the weights that a function multiplies by")
    weight = torch.tensor([1.0, 5.0, 0.5, 2.0]) if weighted else None
    settings = {"ignore_index": ignored, "weight": weight}
    each = {
        "module": nn.CrossEntropyLoss(reduction="none", **settings),
        "partial": partial(F.cross_entropy, reduction="none", **settings),
        "function": lambda out, y: F.cross_entropy(out, y, reduction="none", **settings),
    }[spell]
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1))
    x, y = torch.randn(6, 2, 3, 3), torch.randint(4, (6, 3, 3))
    y[torch.rand(6, 3, 3) < 0.4] = ignored
    lam = 0.3
    mm = ManifoldMixup(model, ["0"])
    perm = torch.tensor([1, 2, 0, 4, 5, 3])
    with mm(pair(perm, torch.full((6,), lam))) as m:
        out = model(x)
        if per == "sample":
            m.lam = m.lam.expand(6).clone()  # weights that only happen to be the same
        loss = m.loss(each, out, y)
    mean = partial(F.cross_entropy, **settings)
    torch.testing.assert_close(loss, lam * mean(out, y) + (1 - lam) * mean(out, y[perm]))


def test_losses_that_are_not_one_for_each_sample_are_refused() -> None:
    model, x, y = residual(), torch.randn(6, 4), torch.zeros(6).long()
    mm = ManifoldMixup(model, ["1"], per="sample")
    with mm(6) as m:
        out = model(x)
        for criterion, message in (
            (F.cross_entropy, "reduction='none'"),
            (lambda out, y: (out - y[:, None]).square().flatten(), r"\(18,\) for a batch of 6"),
            (lambda out, y: F.cross_entropy(out, y)[None], r"\(1,\) for a batch of 6"),
        ):
            with pytest.raises(ValueError, match=message):
                m.loss(criterion, out, y)


@pytest.mark.parametrize(
    ("y", "num_classes", "message"),
    [
        (torch.tensor([[1], [2], [0]]), None, "class indices need num_classes"),
        (
            torch.tensor([1.0, 2.0, 0.0]),
            3,
            r"float32 \(3,\) are mixed as they are, and have not num_classes=3",
        ),
        (torch.rand(3, 4), 3, "have not num_classes=3 columns"),
        ([1, 2, 0], 3, "labels of type list: give a tensor"),
        (np.array([1, 2, 0]), 3, "labels of type ndarray: give a tensor"),
    ],
    ids=["(B, 1)", "indices as numbers", "other columns", "list", "numpy"],
)
def test_targets_of_which_it_is_not_clear_what_they_are_are_refused(
    y: object, num_classes: int | None, message: str
) -> None:
    model = residual()
    with ManifoldMixup(model, ["1"])(3) as m:
        model(torch.randn(3, 4))
        with pytest.raises(ValueError, match=message):
            m.target(y, num_classes)  # type: ignore[arg-type]
        m.target(torch.tensor([1, 2, 0]), 3)


def test_a_loss_of_every_output_with_every_label_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    with ManifoldMixup(model, ["1"], per="sample")(3) as m:
        out, y, each = model(torch.randn(3, 4)), torch.randn(3), nn.L1Loss(reduction="none")
        with pytest.warns(UserWarning, match="target size"), pytest.raises(ValueError, match="one shape"):
            m.loss(each, out, y)
        m.loss(each, out[:, 0], y)


def test_no_hook_outlives_its_pass() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.scale = residual(), nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.net(x) * self.scale, self.scale

    model, x, y = Scaled(), torch.randn(6, 4), torch.zeros(6).long()
    mm = ManifoldMixup(model, ["net.1", "net.2"])
    for _ in range(50):
        with mm(6) as m:
            m.loss(F.cross_entropy, model(x)[0], y).backward()
    assert all(not p._backward_hooks for p in model.parameters())
    assert not hasattr(model.scale, "_mixed_by")


def test_copies_of_an_object_that_holds_both_mix_on_their_own() -> None:
    class Learner:
        def __init__(self) -> None:
            self.net = residual()
            self.mm = ManifoldMixup(self.net, ["1"], generator=seeded(2))

    learner, x, y = Learner(), torch.randn(6, 4), torch.zeros(6).long()
    twins = [copy.deepcopy(learner), learner]
    with io.BytesIO() as stored:
        pickle.dump(learner.mm, stored)
        loaded = pickle.loads(stored.getvalue())
    twins.append(SimpleNamespace(net=loaded.model, mm=loaded))
    losses = []
    for one in twins:
        assert one.mm.model is one.net
        with one.mm(6) as m:
            losses.append(m.loss(F.cross_entropy, one.net(x), y))
            for other in twins:
                assert other is one or torch.equal(other.net(x), copy.deepcopy(residual_like(other.net))(x))
    assert losses[0] == losses[1] == losses[2]  # each has a generator in the same state
    learner.mm.remove()
    with pytest.raises(RuntimeError, match="removed"):
        copy.deepcopy(learner.mm)(6)
    with twins[0].mm(6) as m:
        m.loss(F.cross_entropy, twins[0].net(x), y)

    class Owns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = residual()
            self.mm = ManifoldMixup(self, ["net.1"])

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    owner = copy.deepcopy(Owns())
    with owner.mm(6) as m:
        m.loss(F.cross_entropy, owner(x), y)


def residual_like(net: nn.Module) -> nn.Module:
    plain = residual()
    plain.load_state_dict(net.state_dict())
    return plain


Pair = namedtuple("Pair", "kind size")


def test_labels_in_named_tuples() -> None:
    model, x = residual(), torch.randn(6, 4)
    y = Pair(torch.tensor([0, 1, 2, 0, 1, 2]), torch.randn(6))

    def both(out: Tensor, y: Pair) -> Tensor:
        return F.cross_entropy(out, y.kind) + F.mse_loss(out[:, 0], y.size)

    with ManifoldMixup(model, ["1"])(6) as m:
        out = model(x)
        loss = m.loss(both, out, y)
    swapped = Pair(y.kind[m.perm], y.size[m.perm])
    torch.testing.assert_close(loss, m.lam * both(out, y) + (1 - m.lam) * both(out, swapped))


def test_a_layer_that_is_left_out_at_random_is_said_to_be_so() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = residual()

        def forward(self, x: Tensor) -> Tensor:
            for i, layer in enumerate(self.layers):
                if i != 1 or not self.training:
                    x = layer(x)
            return x

    model = Dropping()
    with pytest.raises(RuntimeError, match=r"'layers.1' was never reached.*LayerDrop.*probability to 0"):
        with ManifoldMixup(model, ["layers.1"])(6):
            model(torch.randn(6, 4))


@pytest.mark.parametrize("size", [np.int64(6), np.uint8(6), torch.tensor(6)])
def test_integers_of_other_libraries(size: object) -> None:
    assert ManifoldMixup(residual(), ["1"])(size).perm.shape == (6,)


@pytest.mark.parametrize("size", [6.0, "6", True, None, np.float32(6), -1])
def test_what_is_no_number_of_samples(size: object) -> None:
    with pytest.raises(ValueError, match="number of samples"):
        ManifoldMixup(residual(), ["1"])(size)


def test_settings_may_be_changed_and_are_checked_again() -> None:
    mm = ManifoldMixup(residual(), ["1"], alpha=1.0, generator=seeded())
    mm.alpha = 1e4
    assert all(abs(float(mm(6).lam) - 0.5) < 0.05 for _ in range(20))
    mm.alpha = 1e-4
    assert all(abs(float(mm(6).lam) - 0.5) > 0.49 for _ in range(5))
    mm.per = "sample"
    assert mm(6).lam.shape == (6,)
    mm.alpha = -1.0
    with pytest.raises(ValueError, match="alpha=-1"):
        mm(6)


def test_a_mixup_is_made_before_compiling() -> None:
    model = residual()
    model[1].compile(backend="eager")
    with pytest.raises(ValueError, match=r"by \.compile\(\) in '1'"):
        ManifoldMixup(model, ["1"])
    model = residual()
    mm = ManifoldMixup(model, ["1"], example=torch.randn(4, 4))
    model.compile(backend="eager")
    x, y = torch.randn(6, 4), torch.zeros(6).long()
    with mm(6) as m:
        out = model(x)
        m.loss(F.cross_entropy, out, y)
    h = residual_like(model)[:2](x)
    torch.testing.assert_close(out, residual_like(model)[2:](m.lam * h + (1 - m.lam) * h[m.perm]))


def test_a_mask_beside_a_mixed_input_is_merged_or_refused() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(4, 3)

        def forward(self, x: Tensor, seen: Tensor) -> Tensor:
            return (self.net(x) * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)

    model, x = Masked(), torch.randn(6, 5, 4)
    seen = (torch.arange(5) < torch.tensor([5, 2, 3, 4, 1, 5])[:, None]).long()
    with pytest.raises(ValueError, match=r"cannot mix seen.*masks="), ManifoldMixup(model, ["input"])(6):
        model(x, seen=seen)
    mm = ManifoldMixup(model, ["input"], masks={"seen": torch.maximum})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with mm(6) as m:
            out = model(x, seen=seen)
    lam, perm = m.lam, m.perm
    torch.testing.assert_close(
        out, model(lam * x + (1 - lam) * x[perm], torch.maximum(seen, seen[perm])), rtol=1e-5, atol=1e-6
    )


def test_a_model_that_computes_its_own_loss_takes_soft_labels() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = residual()

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(self.net(x), y)

    model, x, y = Own(), torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    mm = ManifoldMixup(model, ["net.1"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with mm(6) as m:
            loss = model(x, m.target(y, 3))
    h = model.net[:2](x)
    out = model.net[2:](m.lam * h + (1 - m.lam) * h[m.perm])
    by_hand = m.lam * F.cross_entropy(out, y) + (1 - m.lam) * F.cross_entropy(out, y[m.perm])
    torch.testing.assert_close(loss, by_hand)
    with mm(6) as m:
        model(x, y)
    with pytest.raises(RuntimeError, match=r"never its labels.*computes its own loss"):
        mm(6)
