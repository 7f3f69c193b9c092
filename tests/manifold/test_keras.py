"""Keras 3 on PyTorch: mixed as by hand, in a loop and in fit; what is no such model is refused."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.keras import KerasNetwork, mix_fit
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.mixing import pair

PERM, LAM = torch.tensor([2, 0, 5, 1, 3, 4]), 0.3


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault(
        "KERAS_HOME", str(tmp_path_factory.mktemp("keras"))
    )  # it writes a file when imported
    found = pytest.importorskip("keras", reason="Keras is not installed")
    if found.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend")
    return found


def built(keras: Any) -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    first = keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name="first")(image)
    inner = keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name="inner")(first)
    h = keras.layers.Add(name="block")([first, inner])
    h = keras.layers.BatchNormalization(name="norm")(h)
    h = keras.layers.Flatten(name="flat")(h)
    return keras.Model(image, keras.layers.Dense(3, name="head")(h))


def batch() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(6, 8, 8, 1, generator=g), torch.randint(3, (6,), generator=g)


@pytest.mark.parametrize("layer", ["input", "first", "block"])
def test_outputs_and_gradients_are_those_of_mixing_by_hand(keras: Any, layer: str) -> None:
    model, (x, y) = built(keras), batch()
    mm = ManifoldMixup(KerasNetwork(model), [layer])
    with mm(pair(PERM, LAM)) as m:
        out = model(x, training=True)
        loss = m.loss(F.cross_entropy, out, y)
    got = torch.autograd.grad(loss, [v.value for v in model.trainable_variables])
    mm.remove()

    def mixed(h: Tensor) -> Tensor:
        return LAM * h + (1 - LAM) * h[PERM]

    by_hand = built(keras)
    parts = {part.name: part for part in by_hand.layers}
    h = parts["first"](mixed(x) if layer == "input" else x)
    h = mixed(h) if layer == "first" else h
    h = parts["block"]([h, parts["inner"](h)])
    h = mixed(h) if layer == "block" else h
    expected = parts["head"](parts["flat"](parts["norm"](h, training=True)))
    torch.testing.assert_close(out, expected)
    loss = LAM * F.cross_entropy(expected, y) + (1 - LAM) * F.cross_entropy(expected, y[PERM])
    wanted = torch.autograd.grad(loss, [v.value for v in by_hand.trainable_variables])
    for a, b in zip(got, wanted):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    # The look at the network before moved no statistics: one training pass did.
    for a, b in zip(model.variables, by_hand.variables):
        torch.testing.assert_close(a.value.detach(), b.value.detach())


def test_layers_that_must_not_be_mixed_are_said(keras: Any) -> None:
    model, (x, y) = built(keras), batch()
    with pytest.raises(ValueError, match="no layer is called 'frist'; the nearest are first"):
        ManifoldMixup(KerasNetwork(model), ["frist"])
    mm = ManifoldMixup(KerasNetwork(model), ["inner"])
    with pytest.warns(UserWarning, match="layer 'inner' is passed by"), mm(6) as m:
        m.loss(F.cross_entropy, model(x, training=True), y)
    torch.testing.assert_close(model(x), model(x, training=False))  # and is never mixed


def test_fit_mixes_and_evaluates_as_before(keras: Any) -> None:
    model, (x, y) = built(keras), batch()
    criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", criterion, metrics=["accuracy"])
    mm = mix_fit(model, ["input", "first", "block"], generator=torch.Generator().manual_seed(0))
    drawn = []
    complete = mm.complete
    mm.complete = lambda m: (drawn.append((m.layer, float(m.lam))), complete(m))[1]  # type: ignore[method-assign]
    plain = float(model.evaluate(x, y, verbose=0)[0])
    assert plain == pytest.approx(float(F.cross_entropy(model(x).detach(), y)), rel=1e-4)
    assert drawn == []
    history = model.fit(torch.cat([x, x[:1]]), torch.cat([y, y[:1]]), batch_size=6, epochs=3, verbose=0)
    assert len(drawn) == 6  # three batches of six, and three of one, which are left as they are
    assert len(history.history["loss"]) == 3
    assert {layer for layer, lam in drawn if lam < 1} <= {"input", "first", "block"}


def test_what_is_no_keras_model_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear is no Keras model on PyTorch: set KERAS_BACKEND=torch"):
        KerasNetwork(nn.Linear(2, 2))
