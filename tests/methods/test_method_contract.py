"""The contract, for every method that the folder holds."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

from latentmix import config
from latentmix.config import catalogue
from latentmix.methods import Batch, Method
from latentmix.training.step import make_optimisers, step

METHODS = list(catalogue.find("method"))
SHAPE, LABELS, ATTRIBUTES = (1, 32, 32), 3, 2


def made(name: str, dtype: torch.dtype = torch.float32) -> Method:
    torch.manual_seed(0)
    spec = config.resolve({"method": name}).method
    network = spec.get("network", {})
    # Codes of 8 maps, so that a layer of the embedding has more than two units, which may both be dead.
    for key, small in {"width": 4, "depth": 4, "d_h": 128}.items():
        if key in network:
            network[key] = small
    return config.build("method", spec, shape=SHAPE, labels=LABELS, attributes=ATTRIBUTES).to(dtype)


def batch_for(method: Method, dtype: torch.dtype = torch.float32, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(8, *SHAPE, generator=generator, dtype=dtype) * 2 - 1
    y = torch.randint(LABELS, (8,), generator=generator)
    attributes = torch.randint(2, (8, ATTRIBUTES), generator=generator).to(dtype)
    return Batch(x, y, attributes, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", METHODS)
def test_each_loss_reaches_every_parameter_of_its_player(name: str) -> None:
    method = made(name)
    losses, values = method.losses(batch_for(method))
    assert set(losses) == set(method.players())
    for player, loss in losses.items():
        parameters = list(getattr(method, player).parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        assert all(torch.isfinite(g).all() for g in gradients)
        assert all(g.abs().sum() > 0 for g in gradients)
    for value in [*losses.values(), *values.values()]:
        assert value.ndim == 0


@pytest.mark.parametrize("name", METHODS)
def test_a_step_of_one_player_leaves_the_others_alone(name: str) -> None:
    method = made(name)
    for player in method.players():
        before = {n: p.clone() for n, p in method.named_parameters()}
        step(method, batch_for(method), make_optimisers(method, 1e-2), [player])
        moved = {n.partition(".")[0] for n, p in method.named_parameters() if not torch.equal(p, before[n])}
        assert moved == {player}


@pytest.mark.parametrize("name", METHODS)
def test_the_same_generator_gives_the_same_losses(name: str) -> None:
    method = made(name)
    method.eval()  # spectral norm iterates in training
    first, second = (method.losses(batch_for(method))[0] for _ in range(2))
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in second.items()}


@pytest.mark.parametrize("name", METHODS)
def test_encode_is_deterministic_and_decode_fits_it(name: str) -> None:
    method, batch = made(name), batch_for(made(name))
    for mode in (True, False):
        method.train(mode)
        h = method.encode(batch.x)
        assert torch.equal(h, method.encode(batch.x))
        assert h.shape[1:] == torch.Size(method.autoencoder.code_shape)
        assert method.decode(h).shape == batch.x.shape


@pytest.mark.parametrize("name", METHODS)
def test_unlabelled_data_train_without_a_probe(name: str) -> None:
    part = catalogue.find("method")[name]
    takes = inspect.signature(part.make).parameters
    if takes["labels"].default is inspect.Parameter.empty or "attributes" in takes:
        with pytest.raises((TypeError, ValueError)):
            config.build(
                "method", config.resolve({"method": name}).method, shape=SHAPE, labels=None, attributes=None
            )
        return
    method = config.build("method", config.resolve({"method": name}).method, shape=SHAPE, labels=None)
    assert method.probe is None
    losses, _ = method.losses(dataclasses.replace(batch_for(method), y=None, attributes=None))
    assert set(losses) == set(method.players())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_explains_itself(name: str) -> None:
    part = catalogue.find("method")[name]
    assert part.summary
    assert "References" in (part.make.__doc__ or "")
    assert all(default is not inspect.Parameter.empty for _, default in part.options.values())
