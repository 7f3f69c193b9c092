"""The contract, for every method that is found."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

from latentmix import config
from latentmix.config import catalogue
from latentmix.data.sources.glyphs import draw_factors
from latentmix.methods import Batch, Method
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.methods.roles import Autoencodes, Classifies, Decodes, Encodes, Samples
from latentmix.training.step import make_optimisers, step

METHODS = list(catalogue.find("method"))
CLASSES, ATTRIBUTES = 3, 2
SMALL = {"conv": {"width": 4, "d_h": 128}, "acai": {"depth": 4}, "pre_act_res_net": {"width": 4}}
SMALL |= {"wide_res_net": {"depth": 10, "widen": 1}, "gaia": {"width": 4}}


def shape_of(name: str) -> tuple[int, int, int]:
    return (1, 64, 64) if name == "factor_mixing" else (1, 32, 32)


def made(name: str, dtype: torch.dtype = torch.float32, **context: int | None) -> Method:
    """A small method of this name; codes have 8 maps, of which some units are alive."""
    torch.manual_seed(0)
    spec = config.resolve({"method": name}).method
    network = spec.get("network", {})
    network |= {k: v for k, v in SMALL.get(network.get("name", ""), {}).items() if k in network}
    known = {"num_classes": 2 if name == "factor_mixing" else CLASSES, "num_attributes": ATTRIBUTES}
    starts = {"hidden_decoder": "classifier", "amr_pretrained": "autoencoder"}
    start = made(starts[name], dtype) if name in starts else None
    return config.build("method", spec, shape=shape_of(name), start=start, **known | context).to(dtype)


def batch_for(name: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(8, *shape_of(name), generator=generator, dtype=dtype) * 2 - 1
    y = torch.randint(2 if name == "factor_mixing" else CLASSES, (8,), generator=generator)
    attributes = torch.randint(2, (8, ATTRIBUTES), generator=generator).to(dtype)
    factors = draw_factors(8, "A", generator=generator)[0].round().long()
    mine, host = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    return Batch(x, y, attributes, mine, x.flip(0), 0.5, host, factors)


def without_attributes(name: str) -> bool:
    return "num_attributes" not in inspect.signature(catalogue.find("method")[name].make).parameters


@pytest.mark.parametrize("name", METHODS)
def test_each_loss_reaches_every_parameter_of_its_player(name: str) -> None:
    method = made(name)
    players, seen = method.players(), set()
    for losses, values in method.stages(batch_for(name)):
        for player, loss in losses.items():
            gradients = torch.autograd.grad(loss, players[player], retain_graph=True)
            assert all(torch.isfinite(g).all() for g in gradients)
            assert all(g.abs().sum() > 0 for g in gradients)
            seen.add(player)
        for value in [*losses.values(), *values.values()]:
            assert value.ndim == 0
    assert seen == set(players)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_of_one_player_leaves_the_others_alone(name: str) -> None:
    method = made(name)
    for player in method.players():
        before = {n: p.clone() for n, p in method.named_parameters()}
        step(method, batch_for(name), make_optimisers(method, 1e-2), [player])
        moved = {n.partition(".")[0] for n, p in method.named_parameters() if not torch.equal(p, before[n])}
        assert moved == {player}


@pytest.mark.parametrize("name", METHODS)
def test_the_same_generators_give_the_same_losses(name: str) -> None:
    found = []
    for _ in range(2):
        method = made(name)  # anew: spectral and batch norms move in training
        torch.manual_seed(0)  # dropout knows no other generator
        losses, _ = next(method.stages(batch_for(name)))
        found.append({key: loss.item() for key, loss in losses.items()})
    assert found[0] == found[1]


@pytest.mark.parametrize("name", METHODS)
def test_every_role_keeps_its_promise(name: str) -> None:
    method, x = made(name), batch_for(name).x
    found = []
    for mode in (True, False) if isinstance(method, AutoencoderMethod) else (False,):
        method.train(mode)
        if isinstance(method, Encodes):
            h = method.encode(x)
            assert torch.equal(h, method.encode(x))
            found.append("encodes")
            if isinstance(method, Decodes):
                assert tuple(h.shape[1:]) == tuple(method.code_shape)
        if isinstance(method, Decodes):
            assert method.decode(torch.zeros(2, *method.code_shape)).shape == (2, *x.shape[1:])
            found.append("decodes")
        if isinstance(method, Classifies):
            assert method.classify(x).shape[0] == len(x)
            found.append("classifies")
        if isinstance(method, Samples):
            one, same = (method.sample(3, torch.Generator().manual_seed(0)) for _ in range(2))
            assert torch.equal(one, same)
            assert one.shape == (3, *x.shape[1:])
            found.append("samples")
    assert found


def test_the_contract_itself_has_no_role() -> None:
    for role in (Encodes, Decodes, Classifies, Samples, Autoencodes):
        assert not isinstance(Method(), role)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_best_is_measured(name: str) -> None:
    method, batch = made(name), batch_for(name)
    values = method.eval().validate(batch)
    assert all(value.ndim == 0 or len(value) in (1, len(batch.x)) for value in values.values())
    means = {key: value.double().mean(0) if value.ndim else value for key, value in values.items()}
    found = method.summarise(means)
    assert method.best.lstrip("-") in {"", *found}
    for value in found.values():
        assert value.shape == ()
        assert torch.isfinite(value)


@pytest.mark.parametrize("name", METHODS)
def test_data_without_labels_train_without_a_probe_or_are_refused(name: str) -> None:
    if name == "hidden_decoder":
        return  # it decodes, whatever the labels are
    takes = inspect.signature(catalogue.find("method")[name].make).parameters
    needs_classes = "num_classes" in takes and takes["num_classes"].default is inspect.Parameter.empty
    if not without_attributes(name) or needs_classes:
        with pytest.raises(ValueError, match="needs data"):
            made(name, num_classes=None, num_attributes=None)
        return
    method = made(name, num_classes=None)
    losses, _ = method.losses(dataclasses.replace(batch_for(name), y=None, attributes=None))
    assert set(losses) == set(method.players())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_explains_itself(name: str) -> None:
    part = catalogue.find("method")[name]
    assert part.summary
    assert "References" in (part.make.__doc__ or "")
    assert all(default is not inspect.Parameter.empty for _, default in part.options.values())


def test_factor_mixing_survives_certain_answers() -> None:
    """Probabilities that round to 0 or 1 cost at most 100 and have finite gradients."""
    method, batch = made("factor_mixing"), batch_for("factor_mixing")
    with torch.no_grad():
        for parameter in method.network[-1].parameters():  # type: ignore[index, union-attr]
            parameter.mul_(1e6)
    for _ in range(3):
        losses, _ = method.losses(batch)
        gradients = torch.autograd.grad(losses["network"], list(method.parameters()))
        assert losses["network"] <= 100
        assert all(torch.isfinite(g).all() for g in gradients)
