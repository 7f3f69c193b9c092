"""What every metric keeps, tried on everything that is found: the folder is the list."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import pytest
import torch
from identity import Identity
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import latentmix
from latentmix import metrics
from latentmix.config import catalogue
from latentmix.data import Data, Split
from latentmix.data.subset import hold_out
from latentmix.methods.roles import Autoencodes, Classifies, Decodes, Encodes, Samples
from latentmix.metrics import Score, evaluating, key_of, lines, metric, missing_role
from latentmix.metrics.features import classifier as features

NAMES = [m.name for m in pkgutil.iter_modules(metrics.__path__) if not m.ispkg and m.name != "fit"]
OF_ONE_SYSTEM = ("attribute_mixes", "on_spiral", "posterior")  # tried in files of their own
METRICS = [
    importlib.import_module(f"latentmix.metrics.{name}") for name in NAMES if name not in OF_ONE_SYSTEM
]
QUICK = {
    "deep_probe": {"steps": 20},
    "disentanglement": {"fast": True},
    "robustness": {"n": 40, "n_pgd": 5},
    "honesty": {"n": 60},
    "path": {"n": 40},
    "composition": {"n": 60},
    "frechet": {"n": 150, "draws": 2},
    "clusters": {"restarts": 3},
    "samples": {"n": 150, "splits": 2},
    "blend": {"n": 40},
    "interpolation": {"n": 40, "steps": 3},
}

ROLES = (Encodes, Decodes, Autoencodes, Classifies, Samples, nn.Module)


def name_of(module: Any) -> str:
    return module.__name__.rpartition(".")[2]


every_metric = pytest.mark.parametrize("module", METRICS, ids=name_of)


@pytest.fixture(autouse=True)
def quick_features(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 20)
    monkeypatch.setattr(lines, "PAIRS", 24)


class Versatile(Identity):
    """Has every role; its mode matters, and so does how often its critic was asked in training mode."""

    def __init__(self, shape: tuple[int, int, int], classes: int = 3) -> None:
        super().__init__(shape)
        units = math.prod(shape)
        self.norm = nn.BatchNorm1d(units)
        self.critic = spectral_norm(nn.Linear(units, 1))
        self.head = nn.Linear(units, classes)

    def encode(self, x: Tensor) -> Tensor:
        return self.norm(self.autoencoder.encode(x))

    def classify(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x.flatten(1)))

    def realism(self, x: Tensor) -> Tensor:
        return self.critic(x.flatten(1))[:, 0].sigmoid()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, 1, 4, 4, generator=generator) * 2 - 1


def case(name: str, toy: Data) -> tuple[Versatile, Data, dict[str, Any]]:
    """A method and data that a metric applies to, and options that make it fast."""
    torch.manual_seed(0)
    data = toy
    if name == "lines":
        empty = Split(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), torch.arange(4) % 2)
        data = replace(toy, train=empty, valid=empty, test=empty, source="lines")
    if name == "disentanglement":
        train = toy.train
        bits = torch.stack([train.labels == 0, train.labels == 1, train.images[:, 0, 0, 0] > 120], 1)
        data = replace(toy, train=replace(train, attributes=bits.byte()), attribute_names=("a", "b", "c"))
    if name == "composition":
        data = crossed()
    return Versatile(data.shape).eval(), data, dict(QUICK.get(name, {}))


def crossed() -> Data:
    """Two factors, brightness of the left and of the right half; bright and bright is held out."""

    def split(n: int, seed: int) -> Split:
        g = torch.Generator().manual_seed(seed)
        factors = torch.randint(2, (n, 2), generator=g)
        halves = (40 + 160 * factors)[:, None, None].repeat_interleave(2, 3).expand(n, 1, 4, 4)
        noise = torch.randint(0, 40, (n, 1, 4, 4), generator=g)
        return Split((halves + noise).byte(), factors=factors)

    whole = Data("crossed", split(900, 0), split(200, 1), split(600, 2), (), (), "0" * 64, ("left", "right"))
    return hold_out(whole, {"left": [1], "right": [1]})


def test_the_folder_is_the_list():
    assert sorted(catalogue.find("metric")) == sorted(NAMES)


@every_metric
def test_form(module):
    parameters = list(inspect.signature(module.evaluate).parameters.values())
    assert [p.name for p in parameters[:3]] == ["method", "data", "seed"]
    assert parameters[2].default == 0
    for p in parameters[2:]:
        assert p.kind is p.KEYWORD_ONLY
        assert p.default is not p.empty
        assert p.annotation is not p.empty
    first = module.evaluate.__doc__.split("\n\n")[0].replace("\n", " ")
    assert first.endswith(".")
    assert len(first) < 120
    assert get_type_hints(module.evaluate)["method"] in ROLES


@every_metric
def test_scores_are_plain_finite_numbers_with_a_protocol_and_the_same_each_time(module, toy_data):
    method, data, options = case(name_of(module), toy_data)
    score = module.evaluate(method, data, **options)
    assert score.values
    assert all(isinstance(v, float) and math.isfinite(v) for v in score.values.values())
    assert json.loads(json.dumps(score.protocol)) == score.protocol
    assert set(score.protocol["versions"]) == {"torch", "numpy", "scipy", "scikit-learn"}
    torch.manual_seed(99)  # global generators decide nothing
    assert module.evaluate(method, data, **options) == score


@every_metric
def test_metrics_measure_in_evaluation_mode_and_leave_the_method_as_it_was(module, toy_data):
    """In training mode batch norm would see the batch, and spectral norm would move its vectors."""
    method, data, options = case(name_of(module), toy_data)
    expected = module.evaluate(method, data, **options)
    method.train()
    method.head.eval()
    before = {key: tensor.clone() for key, tensor in method.state_dict().items()}
    assert module.evaluate(method, data, **options) == expected
    assert method.training
    assert method.norm.training
    assert not method.head.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in method.state_dict().items())
    assert not [key for key in vars(method) if "kept" in key]
    assert all(p.grad is None for p in method.parameters())


@every_metric
def test_methods_without_the_role_are_refused_by_name(module, toy_data):
    class Bare(nn.Module):
        pass

    any_of = r" that .*, or a classifier" if name_of(module) == "spread" else r" that .*; bare has no \w+"
    with pytest.raises(ValueError, match=rf"^{name_of(module)} needs a method{any_of}"):
        module.evaluate(Bare(), toy_data)


CLASSIFIED = {"classification", "robustness", "interpolation"}
CODES_ONLY = {"probe", "knn", "clusters", "few_labels", "rank"}
SCALE_FREE = CODES_ONLY | {"deep_probe"}


@pytest.mark.parametrize("name", sorted(SCALE_FREE))
def test_scaled_codes_have_the_same_score(name, toy_data):
    module = importlib.import_module(f"latentmix.metrics.{name}")
    method, data, options = case(name, toy_data)
    plain = module.evaluate(method, data, **options).values
    encode = method.encode
    method.encode = lambda x: 64 * encode(x)  # a power of two: nothing is rounded
    assert module.evaluate(method, data, **options).values == pytest.approx(plain, rel=1e-3, abs=0.01)


@pytest.mark.parametrize("name", sorted(CODES_ONLY))
def test_permuted_units_have_the_same_score(name, toy_data):
    module = importlib.import_module(f"latentmix.metrics.{name}")
    method, data, options = case(name, toy_data)
    plain = module.evaluate(method, data, **options).values
    encode, order = method.encode, torch.randperm(16, generator=torch.Generator().manual_seed(1))
    method.encode = lambda x: encode(x)[:, order]
    assert module.evaluate(method, data, **options).values == pytest.approx(plain, rel=1e-4, abs=0.01)


ORDERLESS = ["probe", "knn", "clusters", "few_labels", "deep_probe", "reconstruction", "classification"]


@pytest.mark.parametrize("name", ORDERLESS)
def test_the_order_of_test_images_does_not_matter(name, toy_data):
    module = importlib.import_module(f"latentmix.metrics.{name}")
    method, data, options = case(name, toy_data)
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(1))
    turned = replace(data, test=data.test.take(order))
    plain, other = (module.evaluate(method, d, **options).values for d in (data, turned))
    assert other == pytest.approx(plain, rel=1e-6, abs=1e-6)


def test_a_strangers_metric_needs_nothing_of_ours(toy_data, toy_method):
    """Undecorated, with hints of its own or none: `metric` adds what holds for all, once."""

    def spread(method, data, *, seed=0):
        assert not method.training
        return Score({"spread": float(metrics.encode(method, data.test).std())}, {"seed": seed})

    toy_method.train()
    once = metric(spread)
    assert metric(once) is once
    score = once(toy_method, toy_data, seed=3)
    assert score.protocol["seed"] == 3
    assert "versions" in score.protocol
    assert toy_method.training


class Walks(Encodes, Protocol):
    def walk(self, x: Tensor) -> Tensor: ...


def wants(role: Any) -> Any:
    def evaluate(method, data, *, seed=0): ...

    evaluate.__annotations__ = {"method": role}
    evaluate.__module__ = "strange.honesty"
    return evaluate


class Classifier(nn.Module):
    def classify(self, x: Tensor) -> Tensor: ...


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        (Classifies, None),
        (Encodes | Classifies, None),
        (Any, None),
        (nn.Module, None),
        ("NotImported", None),
        (
            Decodes,
            "honesty needs a method that decodes codes (code_shape, decode); classifier has no code_shape, "
            "decode",
        ),
        (
            Autoencodes,
            "honesty needs a method that encodes images (encode) and decodes codes (code_shape, decode); "
            "classifier has no encode, code_shape, decode",
        ),
        (
            Encodes | Decodes,
            "honesty needs a method that encodes images (encode) or decodes codes (code_shape, decode); "
            "classifier has no encode, code_shape, decode",
        ),
        (
            Walks,
            "honesty needs a method that has the role Walks (walk) and encodes images (encode); "
            "classifier has no walk, encode",
        ),
        (Identity, "honesty needs a method that is of class Identity; classifier is not"),
    ],
)
def test_what_is_missing_is_named(role, reason):
    found = missing_role(wants(role), Classifier())
    assert found == reason


def test_every_method_of_the_package_is_told_what_it_lacks():
    """By class: a classifier has no codes, an autoencoder does not classify."""
    classifier = catalogue.find("method")["classifier"].make
    bare = classifier.__new__(classifier)  # type: ignore[call-overload]
    nn.Module.__init__(bare)
    honesty = importlib.import_module("latentmix.metrics.honesty")
    robustness = importlib.import_module("latentmix.metrics.robustness")
    assert missing_role(robustness.evaluate, bare) is None
    assert str(missing_role(honesty.evaluate, bare)).endswith("has no encode, code_shape, decode")
    assert str(missing_role(robustness.evaluate, Identity((1, 4, 4)))) == (
        "robustness needs a method that classifies images (classify); identity has no classify"
    )


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"k": 200, "temperature": 0.1}, "knn"),
        ({"k": 20, "temperature": 0.1}, "knn.k=20"),
        ({"temperature": 0.07, "k": 20}, "knn.k=20,temperature=0.07"),
        ({"k": 200.0, "temperature": 0.1}, "knn"),
        ({"k": 200, "temperature": 0.1, "seed": 1}, "knn.seed=1"),
        ({}, "knn"),
    ],
)
def test_two_settings_of_one_metric_have_two_keys(options, key):
    assert key_of("knn", options, {"k": 200, "temperature": 0.1}) == key


def test_keys_of_sequences_words_and_nothing():
    defaults = {"grid": (0.1, 1.0), "path": "lerp", "fast": False, "family": None}
    assert key_of("m", {"grid": [0.1, 1.0]}, defaults) == "m"  # as JSON gives a tuple back
    assert key_of("m", {"grid": (0.5, 1)}, defaults) == "m.grid=[0.5,1]"
    assert key_of("m", {"path": "slerp", "fast": True, "family": "discs"}, defaults) == (
        "m.family=discs,fast=true,path=slerp"
    )
    assert key_of("m", {"family": None}, {"family": "lines"}) == "m.family=none"


def test_blocks_inside_a_block_join_it(toy_method, tmp_path):
    toy_method.train()
    with evaluating(toy_method, tmp_path):
        with evaluating(toy_method):
            assert metrics.folder_of(toy_method) == tmp_path
        assert not toy_method.training
        assert metrics.folder_of(toy_method) == tmp_path
    assert toy_method.training
    assert metrics.folder_of(toy_method) is None


def test_an_error_restores_the_mode(toy_method, toy_data):
    toy_method.train()
    with pytest.raises(ValueError, match="two classes"):
        importlib.import_module("latentmix.metrics.probe").evaluate(
            toy_method, replace(toy_data, train=toy_data.train.take(toy_data.train.labels == 0))
        )
    assert toy_method.training
    assert metrics.folder_of(toy_method) is None


def test_one_small_fit_trains_all_that_measures():
    root = Path(latentmix.__file__).parent / "metrics"
    found = subprocess.run(
        ["grep", "-rlE", r"\.backward\(|\.step\(\)", "--include=*.py", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [Path(line).name for line in found.stdout.split()] == ["fit.py"]


@every_metric
@pytest.mark.parametrize("broken", ["encode", "decode", "classify"])
def test_what_is_not_finite_is_named_where_it_is_used(module, broken, toy_data):
    """Or it changes nothing, where the metric does not ask for it."""
    method, data, options = case(name_of(module), toy_data)
    expected = module.evaluate(method, data, **options)
    right = getattr(method, broken)
    setattr(method, broken, lambda x: right(x) * math.nan)
    try:
        assert module.evaluate(method, data, **options) == expected
    except ValueError as error:
        assert "are NaN or infinite" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "module", [m for m in METRICS if name_of(m) not in CLASSIFIED | {"samples"}], ids=name_of
)
def test_a_code_that_is_always_the_same_wins_nothing(module, toy_data):
    """Values are those of chance, undefined, or refused in a sentence; nothing breaks."""
    method, data, options = case(name_of(module), toy_data)
    encode = method.encode
    method.encode = lambda x: 0 * encode(x) + 0.3
    try:
        values, protocol = module.evaluate(method, data, **options)
    except ValueError as error:
        assert "all the same" in str(error)  # noqa: PT017
        return
    own = {k: v for k, v in values.items() if not k.endswith(("_pixels", "_real", "judge"))}
    if "collapsed" in protocol:
        assert protocol["collapsed"] is True
    for name, value in own.items():
        if "accuracy" in name and "deviation" not in name and "factor" not in name:
            assert value < 0.5, name
