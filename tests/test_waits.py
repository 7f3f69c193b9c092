"""No training step makes the host wait for the device: mixed passes, their labels, and steps of the loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from latentmix import config
from latentmix.manifold.manifold_mixup import ATTEMPTS, ManifoldMixup
from latentmix.mixing import Bernoulli, Mixup, pair
from latentmix.mixing.draws import sent
from latentmix.training.device import Runtime
from latentmix.training.loop import Silent, Trainer, load
from latentmix.training.step import make_optimisers
from waits import DEVICE, Waited, Waits

WAITING: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "item": lambda x, y: x.sum().item(),
    "float": lambda x, y: float(x.sum()),
    "condition": lambda x, y: 1 if (x > 0).any() else 0,
    "list": lambda x, y: y.tolist(),
    "equality": lambda x, y: torch.equal(x, x),
    "closeness": lambda x, y: torch.allclose(x, x),
    "nonzero": lambda x, y: (x > 0).nonzero(),
    "mask as index": lambda x, y: x[x > 0],
    "masked select": lambda x, y: x.masked_select(x > 0),
    "lengths": lambda x, y: y.repeat_interleave(y),
    "unique": lambda x, y: y.unique(),
    "classes not given": lambda x, y: F.one_hot(y),
    "to the host": lambda x, y: x.cpu(),
    "array": lambda x, y: x.numpy(),
    "from the host": lambda x, y: torch.zeros(6).to(DEVICE),
    "into the device": lambda x, y: x.copy_(torch.zeros(6, 3)),
    "made of numbers": lambda x, y: torch.tensor([1.0, 2.0], device=DEVICE),
    "made of one number": lambda x, y: torch.as_tensor(0.5, device=DEVICE),
    "made alike": lambda x, y: x.new_tensor([1, 2]),
    "index of the host": lambda x, y: x[torch.randperm(6)],
    "number of the host": lambda x, y: torch.where(x > 0, x, torch.tensor(0.0)),
}
HARMLESS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "sent": lambda x, y: sent(torch.randperm(6), DEVICE),
    "index of the device": lambda x, y: x[sent(torch.randperm(6), DEVICE)],
    "number by value": lambda x, y: torch.where(x > 0, x, 0.0) * 2 + torch.tensor(3.0),
    "filled": lambda x, y: torch.full((), 0.5, device=DEVICE),
    "classes given": lambda x, y: F.one_hot(y, 3),
    "on the host": lambda x, y: torch.randperm(6).tolist(),
}


def batch(n: int = 6, *shape: int) -> tuple[Tensor, Tensor]:
    x = torch.empty(n, *(shape or (3,)), device=DEVICE)
    return x, torch.empty(n, dtype=torch.long, device=DEVICE)


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_seen(name: str) -> None:
    x, y = batch()
    with Waits(), pytest.raises((Waited, RuntimeError, TypeError)):
        WAITING[name](x, y)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_wait_passes(name: str) -> None:
    with Waits():
        HARMLESS[name](*batch())


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3))

    def forward(self, ids: Tensor) -> Tensor:
        h, padding = self.embed(ids), ids == 0
        for block in self.blocks:
            h = block(h, src_key_padding_mask=padding)
        return self.head(h.mean(1))


class Residual(nn.Sequential):
    def forward(self, h: Tensor) -> Tensor:
        return h + super().forward(h)


def blocks() -> nn.Module:
    inner = [Residual(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1)) for _ in range(3)]
    return nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), *inner, nn.Flatten(), nn.Linear(256, 4))


def soft(out: Tensor, target: Tensor) -> Tensor:
    return -(target * out.log_softmax(1)).sum(1).mean()


def move(trainer: Trainer) -> None:
    """Let a training go on on the device."""
    trainer.method.to(DEVICE)
    trainer.players = trainer.method.players()
    trainer.optimisers = make_optimisers(trainer.method, 0.1)
    trainer.runtime.device = DEVICE
    trainer.batches.train = trainer.data.train.to(DEVICE)
    trainer.batches.generator = None  # type: ignore[assignment]


SMALL = {"name": "pre_act_res_net", "width": 2}
ODD = pair(torch.tensor([1, 0, 3, 2, 5, 4]), 0.5)
PASSES: dict[str, dict[str, Any]] = {
    "auto": {"layers": "auto"},
    "named": {"layers": ["1", "2"]},
    "input": {"layers": ["input"]},
    "weights for each sample": {"layers": ["input", "1"], "per": "sample"},
    "layers for each sample": {"layers": ["input", "1"], "layer_per": "sample"},
    "gradient blocked": {"layers": ["1"], "detach": True},
    "folded": {"layers": ["1"], "fold": "max"},
}


@pytest.mark.parametrize("name", PASSES)
def test_a_mixed_pass_and_its_labels_do_not_wait(name: str) -> None:
    options = dict(PASSES[name])
    model = blocks()
    if options["layers"] == "auto":  # on the host, where the network is looked at
        found = ManifoldMixup(model, "auto", example=torch.randn(2, 3, 8, 8))
        options["layers"] = found.layers
        found.remove()
    model.to(DEVICE)
    optimiser = torch.optim.SGD(model.parameters(), 0.1, 0.9, nesterov=True)
    mm = ManifoldMixup(model, check=False, **options)
    x, y = batch(6, 3, 8, 8)
    draws: list[Any] = [6, ODD] if "layer_per" not in options else [6]
    draws += [Mixup(k=3)(torch.empty(6))] if "layer_per" not in options else []
    for draw in draws:
        with Waits() as waits:
            with mm(draw) as m:
                out = model(x)
                each = m.loss(nn.CrossEntropyLoss(reduction="none", ignore_index=255), out, y)
                loss = each + soft(out, m.target(y, 4))
                if m.lam.ndim == 0:
                    loss = loss + m.loss(F.cross_entropy, out, y)
            loss.backward()
            optimiser.step()
            m.accuracy(out, y)
        # Partners, weights, the layers' weights and which layer was drawn; nothing else goes to the device.
        assert 1 <= waits.copies <= 4


def test_merged_masks_do_not_wait() -> None:
    model = Words().to(DEVICE)
    merge = {"src_key_padding_mask": torch.logical_and}
    for options in ({}, {"layer_per": "sample"}):
        mm = ManifoldMixup(model, ["blocks.0", "blocks.1"], masks=merge, check=False, **options)
        ids, y = torch.empty(6, 5, dtype=torch.long, device=DEVICE), batch()[1]
        with Waits(), mm(6) as m:
            m.loss(nn.CrossEntropyLoss(reduction="none"), model(ids), y).backward()
        mm.remove()


def test_mixes_that_were_drawn_on_the_device_do_not_wait() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Flatten(), nn.Linear(64, 3)).to(DEVICE)
    mm = ManifoldMixup(model, ["input", "0"], check=False)
    x, y = batch(6, 2, 4, 4)
    each = nn.CrossEntropyLoss(reduction="none")
    with Waits() as waits:
        for mix in (pair(y, torch.empty(6, device=DEVICE)), Bernoulli()(torch.empty(6, 4, device=DEVICE))):
            with mm(mix, layer="0") as m:
                m.loss(each, model(x), y).backward()
    assert waits.copies == 2  # which layer was drawn, of each pass


def test_labels_on_the_host_are_mixed_there_as_they_were_drawn() -> None:
    """The draw comes from the host, so nobody waits to have it back from the device."""
    model = nn.Linear(3, 4).to(DEVICE)
    mm = ManifoldMixup(model, ["input"], check=False)
    x, _ = batch()
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    with Waits(), mm(pair(torch.tensor([1, 0, 3, 2, 5, 4]), 0.25)) as m:
        out = model(x)
        target = m.target(y, 4)
        m.loss(lambda out, y: F.cross_entropy(out, sent(y, DEVICE)), out, y)
    assert target.device.type == "cpu"
    assert target[0].tolist() == [0.25, 0.75, 0.0, 0.0]


def test_copies_are_sent_through_page_locked_memory() -> None:
    """A fake CUDA tensor has no gradient where PyTorch is built without CUDA, but it can be copied to."""
    locked: list[Tensor] = []
    with FakeTensorMode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "pin_memory", lambda t: locked.append(t) or t)
        t = torch.randperm(6)
        assert sent(t, "cuda:0").device == torch.device("cuda:0")
        assert len(locked) == 1
        assert sent(t, "cpu") is t
        assert sent(sent(t, "cuda:0"), "cpu").device.type == "cpu"
        assert len(locked) == 2  # and none on the way back


LOOPS: dict[str, dict[str, Any]] = {
    "classifier": {"method": {"name": "classifier", "network": SMALL}, "crop": 2, "flip": True},
    "semi-supervised": {"method": {"name": "semi_supervised", "network": SMALL}, "labelled": 100},
    "AMR": {"method": {"name": "amr", "network": {"name": "conv", "width": 4}}},
    "AMR by masks": {
        "method": {"name": "amr", "network": {"name": "conv", "width": 4}, "mixer": "bernoulli"},
        "every": {"autoencoder": 2},
        "schedule": "cosine",
    },
}


@pytest.mark.parametrize("name", LOOPS)
def test_steps_of_the_loop_do_not_wait(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *a, **k: nullcontext())  # knows no meta device
    settings = {"data": "digits", "image_size": 16, "batch_size": 16, "epochs": 1, "device": "cpu"}
    run = config.resolve({**settings, **LOOPS[name], "out": str(tmp_path / "run")})
    runtime = Runtime("cpu", "fp32")
    trainer = Trainer(run, load(run, runtime), runtime, Silent())
    trainer.method.begin(trainer.data.train.images, trainer.data.train.labels)
    mixup = getattr(trainer.method, "_mixup", None)
    if mixup is not None:
        mixup._attempts = ATTEMPTS  # the examination before the first pass waits, once
    move(trainer)
    for number in (1, 2):  # the first step of a run keeps its losses as numbers
        with Waits() as waits:
            trainer.step(number, number)
            assert trainer.record.sums
        assert waits.copies > 0
