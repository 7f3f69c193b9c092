"""Which layers are found, by name, by pattern and by looking, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.networks.resnet import PreActResNet


class Block(nn.Module):
    """h + branch(h), the branch two parts of one type, which a search by names takes for blocks."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        part = [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(2)]
        self.branch = nn.Sequential(*part)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class Chain(nn.Module):
    """Blocks in a list, each feeding the next."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h)


class OneBlock(nn.Module):
    """A single residual block: the only stack of siblings lies inside its branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(3, 4), Block(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.stem(x)))


class Skipping(Chain):
    """A U-shaped network: the first block's output jumps over the second and third."""

    def forward(self, x: Tensor) -> Tensor:
        a = self.blocks[0](self.stem(x))
        b = self.blocks[2](self.blocks[1](a))
        return self.head(self.blocks[3](a + b))


class Tied(Chain):
    """One block used twice, and known by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.blocks[0]

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in (self.blocks[0], self.blocks[1], self.again):
            h = block(h)
        return self.head(h)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(tokens)).mean(1))


def resnet() -> nn.Module:
    return PreActResNet(18, width=4).classifier((3, 32, 32), 10)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (resnet, ["layer1", "layer2", "layer3"]),
        (Chain, ["blocks.0", "blocks.1"]),
        (lambda: Skipping(4), ["blocks.0"]),
        (lambda: nn.Sequential(nn.Linear(3, 4), Block(), Block(), Block(), nn.Linear(4, 2)), ["1", "2"]),
        (Tokens, ["encoder.layers.0", "encoder.layers.1"]),
    ],
    ids=["resnet", "chain", "skipping", "sequential", "tokens"],
)
def test_auto_takes_whole_blocks_and_nothing_inside_a_residual_branch(
    build: Callable[[], nn.Module], found: list[str]
) -> None:
    model = build()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = torch.get_rng_state()
    assert ManifoldMixup(model).layers == found
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())  # batch norm untouched
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("build", [resnet, Chain, Tokens])
def test_draws_are_made_on_the_host_whatever_the_default_device(build: Callable[[], nn.Module]) -> None:
    model = build()
    with torch.device("meta"):
        mm = ManifoldMixup(model)
        m = mm(6)
        model.eval()
        idle = mm(6)
        probs = ManifoldMixup(build(), mm.layers[:1], layer_probs=[1.0]).layer_probs
    assert {mm.layer_probs.device.type, probs.device.type} == {"cpu"}
    for drawn in (m, idle):
        tensors = (drawn.lam, drawn.perm, drawn.mix.weights, *drawn._weights, drawn._here)
        assert {t.device.type for t in tensors} == {"cpu"}


def test_auto_refuses_a_network_whose_only_stack_is_a_branch_and_runs_a_given_example() -> None:
    with pytest.raises(ValueError, match="name layers"):
        ManifoldMixup(OneBlock())

    class Picky(Chain):
        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return super().forward(x * scale)

    with pytest.raises(ValueError, match="example=x"):
        ManifoldMixup(Picky())
    x, scale = torch.randn(2, 3), torch.tensor(2.0)
    assert ManifoldMixup(Picky(), example=(x, scale)).layers == ["blocks.0", "blocks.1"]
    assert ManifoldMixup(Picky(), example={"x": x, "scale": scale}).layers == ["blocks.0", "blocks.1"]
    with pytest.raises(ValueError, match=r"it fails .*scale.*: give another example, or name layers"):
        ManifoldMixup(Picky(), example=x)


def test_eligible_shows_shapes_and_what_is_not_whole() -> None:
    model = Chain()
    mm = ManifoldMixup(model, ["input", "stem", "blocks.0.branch", "blocks.1", "blocks.1.branch.0"])
    assert [layer.name for layer in mm.eligible()] == mm.layers
    assert all(layer.shape is None and layer.whole is None for layer in mm.eligible())
    found = {layer.name: (layer.shape, layer.whole) for layer in mm.eligible(torch.randn(5, 3))}
    assert found == {
        "input": ((5, 3), True),
        "stem": ((5, 4), True),
        "blocks.0.branch": ((5, 4), False),
        "blocks.1": ((5, 4), True),
        "blocks.1.branch.0": ((5, 4), False),
    }
    assert mm.eligible(torch.ones(2, 3))[0].whole is None  # equal samples show nothing
    assert model.training


def test_patterns_match_whole_names_and_the_input() -> None:
    assert ManifoldMixup(Chain(), r"blocks\.\d").layers == ["blocks.0", "blocks.1", "blocks.2"]
    assert ManifoldMixup(Chain(), r"input|blocks\.[01]").layers == ["input", "blocks.0", "blocks.1"]
    assert ManifoldMixup(Chain(), "stem").layers == ["stem"]
    assert ManifoldMixup(Tied(), r"blocks\.0|again").layers == ["blocks.0"]  # one module, one layer


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["blocks.O"], r"no layer is called 'blocks.O'; the nearest are .*blocks\.0"),
        ("blok.*", r"no layer matches .*the nearest are .*blocks"),
        ("(", "no regular expression"),
        ([], "at least one"),
        (["stem", "stem"], "one and the same"),
    ],
)
def test_layers_that_do_not_exist(layers: list[str] | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ManifoldMixup(Chain(), layers)


def test_a_module_called_input_is_not_taken_for_the_input() -> None:
    model = nn.ModuleDict({"input": nn.Linear(3, 3), "input_norm": nn.LayerNorm(3)})
    for layers in (["input"], "input", "input.*"):
        with pytest.raises(ValueError, match="called 'input' too"):
            ManifoldMixup(model, layers)
    assert ManifoldMixup(model, "input_.*").layers == ["input_norm"]


def test_a_layer_that_runs_twice_or_never_is_an_error_and_not_silent() -> None:
    model, x, y = Tied(), torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    with pytest.raises(ValueError, match="one and the same"):
        ManifoldMixup(model, ["blocks.0", "again"])
    for layer, message, times in (("again", "ran 2 times", 2), ("blocks.2", "never reached", 0)):
        mm = ManifoldMixup(model, [layer])
        with pytest.raises(RuntimeError, match=message), mm(6) as m:
            m.loss(F.cross_entropy, model(x), y)
        with pytest.raises(RuntimeError, match=message), mm(6):
            model(x)
        with pytest.raises(ValueError, match=f"{times} times"):
            mm.eligible(x)
        mm.remove()
    mm = ManifoldMixup(model, ["stem"])
    with pytest.raises(RuntimeError, match="ran 2 times"), mm(6):
        _ = model(x), model(x)
    with pytest.raises(RuntimeError, match="never reached"), mm(6):
        pass
    with pytest.raises(RuntimeError, match="never reached"), mm(6) as m:
        m.loss(F.cross_entropy, Tied()(x), y)  # another model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"layer_probs": [0.5]}, "layer_probs"),
        ({"layer_probs": [1.0, -1.0]}, "layer_probs"),
        ({"layer_probs": [0.0, 0.0]}, "layer_probs"),
        ({"per": "pixel"}, "per='pixel'"),
        ({"fold": "half"}, "fold='half'"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ManifoldMixup(Chain(), ["stem", "input"], **options)


def test_wrapped_models_are_refused() -> None:
    compiled = Chain()
    compiled.compile(backend="eager")
    with pytest.raises(ValueError, match=r"compiled already, by \.compile\(\): make ManifoldMixup first"):
        ManifoldMixup(compiled, ["stem"])
    for wrapped in (nn.DataParallel(Chain()), torch.compile(Chain(), backend="eager")):
        with pytest.raises(ValueError, match="wrapped already"):
            ManifoldMixup(wrapped, ["input"])


def test_batches_that_cannot_be_mixed() -> None:
    model = Chain()
    mm = ManifoldMixup(model, ["stem"])
    with pytest.raises(ValueError, match="batch of one"):
        mm(1)
    for size in (0, torch.randn(4, 3)):
        with pytest.raises(ValueError, match="number of samples"):
            mm(size)
    with pytest.raises(ValueError, match=r"'stem' holds \(4, 4\).*batch of 5"), mm(5):
        model(torch.randn(4, 3))
    with pytest.raises(RuntimeError, match="another forward pass is open"), mm(4), mm(4):
        pass
    with mm(4):
        model(torch.randn(4, 3))  # the failures have left nothing behind


def test_labels_that_are_not_what_the_loss_needs() -> None:
    model, x, y = Chain(), torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    with ManifoldMixup(model, ["stem"])(4) as m:
        out = model(x)
        for labels, message in (
            (y[:3], "labels of|refuses"),
            (y.float(), r"refuses outputs float32 \(4, 2\) with labels float32 \(4,\)"),
            (y + 1, "out of bounds"),
            ([0, 1, 1, 0], "labels of type int"),
        ):
            with pytest.raises(ValueError, match=message):
                m.loss(F.cross_entropy, out, labels)
        with pytest.raises(ValueError, match="labels of shape"):
            m.loss(lambda out, y: out.sum(), out, y[:3])
        with pytest.raises(ValueError, match="labels of type"):
            m.loss(lambda out, y: out.sum(), out, 3)
        with pytest.raises(ValueError, match="num_classes"):
            m.target(y)
        with pytest.raises(ValueError, match="3 labels for a batch of 4"):
            m.target(y[:3], 2)
    mm = ManifoldMixup(Chain(), ["stem"], per="sample")
    with mm(4) as m:
        out = mm.model(x)
        with pytest.raises(ValueError, match="reduction='none'"):
            m.loss(F.cross_entropy, out, y)
