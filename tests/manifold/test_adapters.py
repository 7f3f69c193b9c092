"""Manifold Mixup in other people's loops: timm's call, and the real Lightning and Hugging Face trainers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.huggingface import ManifoldMixupTrainer
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.manifold.timm import TimmMixup
from latentmix.mixing import pair

sys.path.insert(0, str(Path(__file__).parent))
from torchvision_stand_in import torchvision


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def data(n: int = 22) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 4, generator=g), torch.randint(3, (n,), generator=g)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def by_hand(n: int, sizes: list[int], steps: int, lr: float, accumulate: int = 1) -> nn.Sequential:
    """Train the same network on the same batches with a plain loop; what every adapter must reproduce."""
    model, (x, y) = mlp(), data(n)
    mm = ManifoldMixup(model, ["0", "2"], generator=seeded())
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    batches = list(zip(x.split(sizes), y.split(sizes)))
    for step in range(steps):
        for i in range(accumulate):
            xb, yb = batches[(step * accumulate + i) % len(batches)]
            with mm(len(xb) if len(xb) > 1 else pair(torch.tensor([0]), 1.0)) as m:
                (m.loss(F.cross_entropy, model(xb), yb) / accumulate).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def assert_same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.detach().cpu(), b.detach())


def test_timm_call_gives_soft_targets_for_the_states_that_the_model_mixes() -> None:
    model, plain, (x, y) = mlp(), mlp(), data(7)  # an odd batch
    mixup_fn = TimmMixup(ManifoldMixup(model, ["2"], generator=seeded()), num_classes=3, label_smoothing=0.3)
    for _ in range(3):
        same, target = mixup_fn(x, y)
        out = model(x)
        m = mixup_fn._open
        h = plain[2](plain[1](plain[0](x)))
        h = m.lam * h + (1 - m.lam) * h[m.perm]
        one_hot = 0.7 * F.one_hot(y, 3) + 0.1
        assert torch.equal(same, x)
        torch.testing.assert_close(out, plain[4](plain[3](h)))
        torch.testing.assert_close(target, m.lam * one_hot + (1 - m.lam) * one_hot[m.perm])
    mixup_fn.mixup_enabled = False
    _, target = mixup_fn(x, y)
    torch.testing.assert_close(target, one_hot)
    assert torch.equal(model(x), plain(x))


def test_timm_call_notices_a_batch_that_was_not_mixed() -> None:
    model, (x, y) = mlp(), data(8)
    mixup_fn = TimmMixup(ManifoldMixup(model, ["2"]), num_classes=3)
    mixup_fn(x, y)
    with pytest.raises(RuntimeError, match="never reached"):
        mixup_fn(x, y)
    mixup_fn(x, y)
    model(x)
    model.eval()
    model(x)  # an evaluation in between is none of its business
    mixup_fn.close()


def test_the_call_is_that_of_timm() -> None:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    with torchvision():
        from timm.data import Mixup as TheirMixup
        from timm.loss import SoftTargetCrossEntropy
    theirs, (x, y) = TheirMixup(mixup_alpha=1.0, num_classes=3, label_smoothing=0.1), data(8)
    model = mlp()
    ours = TimmMixup(ManifoldMixup(model, ["2"]), num_classes=3, label_smoothing=0.1)
    images = x.reshape(8, 1, 2, 2)
    a, b = theirs(images.clone(), y), ours(images, y)
    assert [t.shape for t in a] == [t.shape for t in b]
    torch.testing.assert_close(a[1].sum(1), b[1].sum(1))
    assert hasattr(theirs, "mixup_enabled")
    assert hasattr(ours, "mixup_enabled")
    assert SoftTargetCrossEntropy()(model(b[0].flatten(1)), b[1]).requires_grad
    ours.close()


def test_a_last_batch_of_one_is_left_as_it_is_by_timm_call() -> None:
    model, (x, y) = mlp(), data(1)
    mixup_fn = TimmMixup(ManifoldMixup(model, ["2"]), num_classes=3)
    same, target = mixup_fn(x, y)
    assert torch.equal(model(same), mlp()(x))
    assert torch.equal(target, F.one_hot(y, 3).float())
    mixup_fn.close()


class LitBase:
    """The Lightning module of the documentation, without its base class."""

    def __init__(self) -> None:
        super().__init__()
        self.model = mlp()
        self.seen: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        self.seen.append(self.mix.layer)
        return self.mix.loss(F.cross_entropy, self.model(x), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, _ = batch
        assert torch.equal(self.model(x), self.model(x))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning(tmp_path: Path, accumulate: int) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from latentmix.manifold.lightning import ManifoldMixupCallback

    class Module(LitBase, lightning.LightningModule):
        pass

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=8)
    module, callback = Module(), ManifoldMixupCallback("model", ["0", "2"], generator=seeded())
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=[callback],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader, loader)
    assert set(module.seen) == {"0", "2"}
    assert not module.model[0]._forward_hooks  # taken off again
    if accumulate == 1:
        assert_same_weights(module.model, by_hand(22, [8, 8, 6], 6, 0.1))
    saved = callback.state_dict()
    resumed = ManifoldMixupCallback("model", ["0", "2"], generator=torch.Generator())
    resumed.load_state_dict(saved)
    assert torch.equal(resumed.generator.get_state(), callback.generator.get_state())


def test_lightning_leaves_a_last_batch_of_one_as_it_is(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from latentmix.manifold.lightning import ManifoldMixupCallback

    class Module(LitBase, lightning.LightningModule):
        pass

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data(17)), batch_size=8)
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[ManifoldMixupCallback("model", ["0", "2"], generator=seeded())],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader)
    assert len(module.seen) == 3
    assert_same_weights(module.model, by_hand(17, [8, 8, 1], 3, 0.1))


def test_lightning_stops_where_a_step_forgets_the_model(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from latentmix.manifold.lightning import ManifoldMixupCallback

    class Forgets(LitBase, lightning.LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = batch
            return F.cross_entropy(mlp()(x).requires_grad_(), y)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=8)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[ManifoldMixupCallback("model", ["0"])],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    module = Forgets()
    with pytest.raises(RuntimeError, match="never reached"):
        trainer.fit(module, loader)
    assert not module.model[0]._forward_hooks


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __init__(self, n: int) -> None:
        self.x, self.y = data(n)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"x": self.x[i], "labels": self.y[i]}


class Failing:
    """A trainer whose first step fails in the model."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.args, self.fails = model, SimpleNamespace(label_smoothing_factor=0), True

    def training_step(self, model: nn.Module, inputs: Any) -> Tensor:
        model(inputs["x"])
        if self.fails:
            raise RuntimeError("out of memory")
        return torch.zeros(())

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool) -> str:
        return "the trainer's own"


class MixingFailing(ManifoldMixupTrainer, Failing): ...


def test_a_step_that_failed_leaves_evaluation_unmixed() -> None:
    model, (x, y) = mlp(), data(6)
    trainer = MixingFailing(model, mixup=ManifoldMixup(model, ["2"], generator=seeded()))
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.training_step(model, {"x": x, "labels": y})
    assert trainer.mixed is None
    assert trainer.compute_loss(model, {"x": x, "labels": y}) == "the trainer's own"
    trainer.fails = False
    assert trainer.training_step(model, {"x": x, "labels": y}) == 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_hugging_face_trainer(tmp_path: Path, accumulate: int) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Mixing(ManifoldMixupTrainer, transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.config = mlp(), transformers.PretrainedConfig()

        def forward(self, x: Tensor, labels: Tensor | None = None, **_: Any) -> dict[str, Tensor]:
            logits = self.net(x)
            return (
                {"logits": logits}
                if labels is None
                else {"loss": F.cross_entropy(logits, labels), "logits": logits}
            )

    arguments: dict[str, Any] = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": accumulate,
        "max_steps": 3,
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    model = Model()
    mm = ManifoldMixup(model, [r"net.0", "net.2"], generator=seeded())
    rows = Rows(48)
    trainer = Mixing(
        model, transformers.TrainingArguments(**arguments), train_dataset=rows, eval_dataset=rows, mixup=mm
    )
    trainer.train()
    assert_same_weights(model.net, by_hand(48, [8] * 6, 3, 0.1, accumulate))
    with_one = Mixing(
        model,
        transformers.TrainingArguments(**arguments | {"max_steps": 3}),
        train_dataset=Rows(17),
        mixup=mm,
    )
    if accumulate == 1:
        with_one.train()  # the third batch has one sample
    plain = F.cross_entropy(model.net(rows.x), rows.y).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(plain, rel=1e-5)

    with pytest.raises(ValueError, match="another model"):
        Mixing(Model(), transformers.TrainingArguments(**arguments), mixup=mm)
    with pytest.raises(ValueError, match="label smoothing"):
        Mixing(model, transformers.TrainingArguments(**arguments, label_smoothing_factor=0.1), mixup=mm)


def test_hugging_face_model_with_dataclass_outputs_and_checkpointing(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")

    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config)
    pixels, y = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    blocks = ManifoldMixup(model, example={"pixel_values": pixels})
    assert len(blocks.layers) == 2
    assert all(name.endswith((".0", ".1")) for name in blocks.layers)
    assert all(layer.whole for layer in blocks.eligible(pixel_values=pixels))
    blocks.remove()
    mm = ManifoldMixup(model, ["input", *blocks.layers, "vit"], generator=seeded())  # "vit" gives a dataclass
    gradients = []
    for saving in (False, True):
        if saving:
            model.gradient_checkpointing_enable()
        mm.generator.manual_seed(0)
        model.zero_grad()
        drawn = set()
        for _ in range(16):
            with mm(6) as m:
                loss = m.loss(F.cross_entropy, model(pixel_values=pixels).logits, y)
            loss.backward()
            drawn.add(m.layer)
        assert drawn == set(mm.layers)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)
