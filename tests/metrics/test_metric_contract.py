"""What every metric keeps; the folder is the list."""

import importlib
import inspect
import json
import pkgutil

import pytest

from latentmix import metrics
from latentmix.metrics.features import classifier as features

NAMES = [m.name for m in pkgutil.iter_modules(metrics.__path__)]
MODULES = [importlib.import_module(f"latentmix.metrics.{name}") for name in NAMES]
METRICS = [module for module in MODULES if hasattr(module, "evaluate")]


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.__name__.rpartition(".")[2])
def test_form(metric):
    parameters = list(inspect.signature(metric.evaluate).parameters.values())
    assert [p.name for p in parameters[:3]] == ["method", "data", "seed"]
    assert parameters[2].default == 0
    for p in parameters[2:]:
        assert p.kind is p.KEYWORD_ONLY
        assert p.default is not p.empty
        assert p.annotation is not p.empty
    first = metric.evaluate.__doc__.split("\n\n")[0].replace("\n", " ")
    assert first.endswith(".")
    assert len(first) < 120


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.__name__.rpartition(".")[2])
def test_scores_are_plain_finite_numbers_with_a_protocol_or_say_what_they_need(
    metric, toy_data, toy_method, monkeypatch
):
    monkeypatch.setattr(features, "STEPS", 5)
    quick = {"steps": 20} if "deep_probe" in metric.__name__ else {}
    score = attempt(lambda: metric.evaluate(toy_method, toy_data, **quick))
    if isinstance(score, str):
        assert "need" in score
        return
    assert score.values
    assert all(isinstance(v, float) and v == v and abs(v) < float("inf") for v in score.values.values())
    assert json.loads(json.dumps(score.protocol)) == score.protocol


def attempt(evaluate):
    try:
        return evaluate()
    except ValueError as error:
        return str(error)
