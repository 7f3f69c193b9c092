"""The page's JavaScript computes what PyTorch computes: every method and network, in V8."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from untrained_run import untrained

from latentmix.apps.page.graph import NoPage, trace
from latentmix.apps.traced import Half, example
from latentmix.config import catalogue
from latentmix.methods.autoencoding import AutoencoderMethod


def codes_of(part: catalogue.Part) -> bool:
    """Whether a method is an autoencoder for any size of images: the page mixes their codes."""
    return issubclass(part.make, AutoencoderMethod) and part.name != "gaia"  # type: ignore[arg-type]


py_mini_racer = pytest.importorskip("py_mini_racer")
CASES = [
    *((name, {}, (1, 16, 16)) for name, part in catalogue.find("method").items() if codes_of(part)),
    ("gaia", {"network": {"name": "gaia", "width": 4}}, (3, 32, 32)),
    ("autoencoder", {"network": {"name": "burgess"}}, (1, 64, 64)),
    ("autoencoder", {"network": {"name": "residual", "width": 2}}, (3, 64, 64)),
    ("autoencoder", {"network": {"name": "mlp"}}, (3, 16, 16)),
    ("autoencoder", {"network": {"name": "acai", "grid": 2}}, (3, 16, 16)),
    ("vae", {"network": {"name": "conv", "d_h": 64}}, (3, 16, 16)),
]


@pytest.fixture(scope="module")
def v8():
    context = py_mini_racer.MiniRacer()
    context.eval((resources.files("latentmix.apps.page") / "engine.js").read_text())
    return context


def in_javascript(v8, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    graph = trace(module, x, "c")
    constants = {
        k: {"shape": list(v.shape), "data": v.flatten().tolist()} for k, v in graph.constants.items()
    }
    v8.eval(f"var job = {json.dumps([graph.ops, constants, x.flatten().tolist(), list(x.shape)])}")
    out = v8.eval(
        "for (const c of Object.values(job[1])) c.data = new Float32Array(c.data);"
        "JSON.stringify(Array.from(Engine.run(job[0], job[1], new Float32Array(job[2]), job[3])))"
    )
    return torch.tensor(json.loads(out))


@pytest.mark.parametrize(
    ("name", "options", "shape"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
@pytest.mark.parametrize("role", ["encode", "decode"])
def test_every_method_computes_the_same_in_javascript(v8, tmp_path, name, options, shape, role) -> None:
    method = untrained(tmp_path, shape, name=name, **options).method
    with torch.no_grad():
        for parameter in method.parameters():  # gains of one and biases of zero would hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = example(method, role, shape, 1)
    with torch.no_grad():
        expected = getattr(method, role)(x).flatten()
    found = in_javascript(v8, Half(method, role), x)
    assert (found - expected).abs().max() <= 5e-5 * max(1, expected.abs().max())
    assert expected.std() > 0


class Odd(nn.Module):
    """Layers and arithmetic that no network of the house has, as a stranger's might."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, (3, 5), stride=(2, 1), padding=(0, 2))
        self.norm = nn.BatchNorm2d(6)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)
        self.back = nn.ConvTranspose2d(6, 3, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.scale = nn.Parameter(torch.randn(3, 1, 1))

    def forward(self, x):
        h = F.pad(torch.sigmoid(self.norm(self.first(x))), (1, 2, 0, 1), value=0.5)
        y = self.back(F.avg_pool2d(h, (1, 2)))
        first, second = (y * self.scale - 2 / (y + 9)).split([1, 2], 1)
        return torch.cat([second, 1 - first.exp()], 1).flatten(1)


def test_a_strangers_layers_compute_the_same(v8) -> None:
    torch.manual_seed(0)
    module, x = Odd().eval(), torch.randn(1, 2, 9, 10)
    with torch.no_grad():
        expected = module(x).flatten()
    assert (in_javascript(v8, module, x) - expected).abs().max() < 1e-5


def test_constants_are_folded_and_dead_code_is_dropped() -> None:
    class Folding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            x.square().sum()
            return x @ (self.table.T * 2 + self.table.square().sum(0))

    graph = trace(Folding(), torch.randn(1, 4), "c")
    assert [op["op"] for op in graph.ops] == ["linear"]
    assert len(graph.constants) == 1


def test_an_operation_that_the_page_does_not_know_is_named() -> None:
    class Strange(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real

    with pytest.raises(NoPage, match=r"cannot compute 'fft_fft'.*latentmix explore"):
        trace(Strange(), torch.randn(1, 8), "c")
