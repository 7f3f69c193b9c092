"""Many networks, three ways to name layers, six ways to train: mixed as by hand, or refused by name.

By hand is three lines: a hook on the layer that returns lam h + (1 - lam) h[perm], and the two losses.
Outputs and the gradients of all weights are compared, in float32, to a rounding of 1e-4 of the largest value
(bfloat16: 3e-2). What a cell says is what its case says and its test has found; docs/manifold_mixup.md shows
the table.

    python tests/manifold/test_matrix.py      writes the table into the page
"""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.mixing import pair

sys.path.insert(0, str(Path(__file__).parent))
from matrix_kinds import CASES as KINDS
from matrix_libraries import CASES as LIBRARIES
from matrix_networks import CASES as OWN
from matrix_networks import Case

CASES = {case.name: case for case in (*OWN, *KINDS, *LIBRARIES)}
PAGE = Path(__file__).parents[2] / "docs" / "manifold_mixup.md"
PERM, LAM = torch.tensor([2, 0, 5, 1, 3, 4]), 0.3
MODES = ["plain", "autocast", "checkpointed", "accumulated"]


@cache
def built(name: str) -> nn.Module:
    if name.endswith("(timm)") and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    torch.manual_seed(0)
    return CASES[name].build().train()


@cache
def found(name: str) -> list[str]:
    """What "auto" takes; a refusal is an error of the test that asks."""
    case, model = CASES[name], built(name)
    mm = ManifoldMixup(model, "auto", example=sample(case, 2), batch_dim=case.batch_dim)
    mm.remove()
    return mm.layers


def sample(case: Case, n: int, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return case.inputs(n)


def call(model: nn.Module, x: Any) -> Any:
    torch.manual_seed(2)  # dropout falls alike
    return model(**x) if isinstance(x, dict) else model(*x)


def choices(case: Case) -> dict[str, list[str]]:
    """Layers by each way to name them, where that is not to be refused."""
    given = {"named": case.named}
    if isinstance(case.auto, list):
        given["auto"] = case.auto
    if case.input is None:
        given["input"] = ["input"]
    return given


def loss_of(case: Case, out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.float(), y)


def labels(out: Tensor) -> Tensor:
    g = torch.Generator().manual_seed(3)
    return torch.randint(out.shape[1], (out.shape[0], *out.shape[2:]), generator=g)


def mixed(h: Any, dim: int, order: Tensor, every: bool = False) -> Any:
    """The first tensor of real numbers in h, or every one of as many samples, mixed along a dimension."""
    n = len(order)
    if isinstance(h, Tensor):
        if not (h.is_floating_point() or h.is_complex()) or (every and (h.ndim <= dim or h.shape[dim] != n)):
            return h
        lam = torch.tensor(LAM).to(h.dtype)  # weights are applied in the precision of the layer
        rest = torch.tensor(1 - LAM).to(h.dtype)
        return lam * h + rest * h.index_select(dim, order)
    if isinstance(h, dict):
        parts: Any = type(h)() if type(h) is not dict else {}
        for i, (key, value) in enumerate(h.items()):
            parts[key] = mixed(value, dim, order, every) if every or i == 0 else value
        return parts
    return type(h)(mixed(v, dim, order, every) if every or i == 0 else v for i, v in enumerate(h))


def partners(n: int) -> Tensor:
    return PERM if n == len(PERM) else torch.arange(n).roll(1)


@contextmanager
def by_hand(case: Case, model: nn.Module, layer: str, n: int, order: Tensor | None = None) -> Iterator[None]:
    if order is None:
        order = partners(n)
    dims = case.batch_dim
    dim = dims.get(layer, 0) if isinstance(dims, dict) else dims
    if layer == "input":
        handle = model.register_forward_pre_hook(
            lambda m, args, kwargs: (mixed(args, dim, order, True), mixed(kwargs, dim, order, True)),
            with_kwargs=True,
        )
    else:
        handle = model.get_submodule(layer).register_forward_hook(
            lambda m, args, out: mixed(out, dim, order), prepend=True
        )
    try:
        yield
    finally:
        handle.remove()


def results(case: Case, model: nn.Module, run: Callable[[], tuple[list[Tensor], Tensor]]) -> list[Tensor]:
    outputs, loss = run()
    weights = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return [*(out.detach() for out in outputs), loss.detach(), *(g for g in gradients if g is not None)]


def hand(case: Case, model: nn.Module, layer: str, sizes: list[int]) -> list[Tensor]:
    def run() -> tuple[list[Tensor], Tensor]:
        outputs, losses = [], []
        for n in sizes:
            with by_hand(case, model, layer, n):
                out = case.answer(call(model, sample(case, n)))
            y, order = labels(out), partners(n)
            losses.append(LAM * loss_of(case, out, y) + (1 - LAM) * loss_of(case, out, y[order]))
            outputs.append(out)
        return outputs, sum(losses[1:], losses[0])

    return results(case, model, run)


def ours(
    case: Case, model: nn.Module, mm: ManifoldMixup, layer: str, sizes: list[int], called: Any = None
) -> list[Tensor]:
    def run() -> tuple[list[Tensor], Tensor]:
        outputs, losses = [], []
        for n in sizes:
            order = partners(n)
            with mm(pair(order, LAM), layer=layer) as m:
                out = case.answer(call(model if called is None else called, sample(case, n)))
                losses.append(m.loss(partial(loss_of, case), out, labels(out)))
            outputs.append(out)
        return outputs, sum(losses[1:], losses[0])  # differentiated after the contexts have closed

    return results(case, model, run)


def assert_equal(one: list[Tensor], two: list[Tensor], tolerance: float) -> None:
    assert len(one) == len(two)
    for a, b in zip(one, two):
        scale = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(scale, 1e-3))


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """The running means of batch norm, which every pass moves."""
    state = {name: t.clone() for name, t in model.named_buffers()}
    try:
        yield
    finally:
        for name, t in model.named_buffers():
            t.copy_(state[name])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_cell(name: str, mode: str) -> None:
    case, model = CASES[name], built(name)
    sizes = [6, 4] if mode == "accumulated" else [6]
    autocast = torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else nullcontext()
    with warnings.catch_warnings(), autocast, frozen_statistics(model):
        warnings.simplefilter("ignore")
        for layers in choices(case).values():
            # In the first mode every layer, and examined; in the others one, the last.
            mm = ManifoldMixup(model, layers, batch_dim=case.batch_dim, check=mode == "plain")
            for layer in layers if mode == "plain" else layers[-1:]:
                called = partial(checkpoint, model, use_reentrant=False) if mode == "checkpointed" else None
                if called is not None:
                    forward = model.forward
                    model.forward = partial(checkpoint, forward, use_reentrant=False)
                try:
                    seen = ours(case, model, mm, layer, sizes)
                finally:
                    if called is not None:
                        model.forward = forward
                expected = hand(case, model, layer, sizes)
                assert_equal(seen, expected, 3e-2 if mode == "autocast" else 1e-4)
                unmixed = call(model, sample(case, 6))
                assert not torch.allclose(case.answer(unmixed).float(), seen[0].float(), rtol=1e-3, atol=1e-4)
            mm.remove()


@pytest.mark.parametrize("name", CASES)
def test_what_auto_takes(name: str) -> None:
    case = CASES[name]
    if isinstance(case.auto, str):
        with pytest.raises(ValueError, match=case.auto.removeprefix("!")):
            found(name)
    else:
        assert found(name) == case.auto


def holdings(model: nn.Module) -> dict[str, Any]:
    """The names of what each module keeps, and how many things are in it: hooks, buffers, lists."""
    return {
        name: {key: len(v) if isinstance(v, dict | list | set) else None for key, v in vars(module).items()}
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("name", CASES)
def test_the_examination_leaves_a_network_that_was_never_called_as_it_was(name: str) -> None:
    case, x = CASES[name], sample(CASES[name], 6)
    built(name)  # skipped where its library is missing
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(CASES[name].build().train())
    never, examined = networks
    before = holdings(examined)
    mm = ManifoldMixup(examined, case.named, batch_dim=case.batch_dim)
    with warnings.catch_warnings(), suppress(RuntimeError):  # some run on whole batches alone
        warnings.simplefilter("ignore")
        mm.eligible(**x) if isinstance(x, dict) else mm.eligible(*x)
    mm.remove()
    assert holdings(examined) == before
    expected, out = case.answer(call(never, x)), case.answer(call(examined, x))
    assert torch.equal(expected, out)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.input is not None])
def test_inputs_that_cannot_be_mixed_are_refused(name: str) -> None:
    case, model = CASES[name], built(name)
    mm = ManifoldMixup(model, ["input"], batch_dim=case.batch_dim)
    try:
        with frozen_statistics(model), pytest.raises(ValueError, match=case.input.removeprefix("!")):
            with mm(6):
                call(model, sample(case, 6))
    finally:
        mm.remove()


@pytest.mark.parametrize(
    ("name", "layer"), [(name, layer) for name, case in CASES.items() for layer in case.wrong]
)
def test_a_wrong_layer_is_refused_or_warned_of(name: str, layer: str) -> None:
    case, model = CASES[name], built(name)
    mm = ManifoldMixup(model, [layer], batch_dim=case.batch_dim)
    try:
        with frozen_statistics(model), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            with pytest.raises((ValueError, RuntimeError, UserWarning), match=case.wrong[layer]):
                with mm(6):
                    call(model, sample(case, 6))
    finally:
        mm.remove()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if case.quick else pytest.mark.slow) for name, case in CASES.items()],
)
def test_compiled_cell(name: str) -> None:
    case, model = CASES[name], built(name)
    with frozen_statistics(model):
        for layers in choices(case).values():
            mm = ManifoldMixup(model, layers, batch_dim=case.batch_dim, check=False)
            compiled = torch.compile(
                model, backend="eager"
            )  # traced, hooks included, but not made into kernels
            seen = ours(case, model, mm, layers[-1], [6], compiled)
            mm.remove()
            assert_equal(seen, hand(case, model, layers[-1], [6]), 1e-4)
            torch.compiler.reset()


def rank_main(rank: int, folder: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    seen = {}
    for name in names:
        case = CASES[name]
        for choice, layers in choices(case).items():
            model = built(name)
            mm = ManifoldMixup(model, layers, batch_dim=case.batch_dim, check=False)
            parallel = nn.parallel.DistributedDataParallel(
                model, broadcast_buffers=False, find_unused_parameters=True
            )
            order = torch.arange(6).roll(1 + rank)
            with frozen_statistics(model):
                model.zero_grad(set_to_none=True)
                with mm(pair(order, LAM), layer=layers[-1]) as m:
                    out = case.answer(call(parallel, sample(case, 6, seed=rank)))
                    m.loss(partial(loss_of, case), out, labels(out)).backward()
            mm.remove()
            seen[name, choice] = {
                key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None
            }
    torch.save(seen, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_ranks(tmp_path: Path, quick: bool) -> None:
    names = [name for name, case in CASES.items() if case.quick is quick]
    if importlib.util.find_spec("timm") is None:
        names = [name for name in names if not name.endswith("(timm)")]
    torch.multiprocessing.spawn(rank_main, (str(tmp_path), names), nprocs=2)
    seen = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for (name, choice), gradients in seen[0].items():
        case, model = CASES[name], built(name)
        alone = []
        for rank in range(2):
            order = torch.arange(6).roll(1 + rank)
            weights = [model.get_parameter(key) for key in gradients]
            with frozen_statistics(model):
                with by_hand(case, model, choices(case)[choice][-1], 6, order):
                    out = case.answer(call(model, sample(case, 6, seed=rank)))
                y = labels(out)
                loss = LAM * loss_of(case, out, y) + (1 - LAM) * loss_of(case, out, y[order])
                alone.append(torch.autograd.grad(loss, weights, materialize_grads=True))
        means = [(a + b) / 2 for a, b in zip(*alone)]
        assert_equal(list(gradients.values()), means, 1e-4)
        assert_equal(list(gradients.values()), list(seen[1][name, choice].values()), 1e-6)


def table() -> str:
    """The matrix as the page shows it: what each test above has found, or the case would fail."""
    lines = [
        "| network | auto | named | input | plain | autocast | checkpointed | accumulated | compiled "
        "| two ranks | refused or warned of |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES.values():
        auto = "none found" if isinstance(case.auto, str) else ", ".join(f"`{name}`" for name in case.auto)
        if isinstance(case.auto, list) and len(case.auto) > 3:
            auto = f"`{case.auto[0]}` to `{case.auto[-1]}`"
        named = ", ".join(f"`{name}`" for name in case.named)
        given = "mixed" if case.input is None else "refused: tokens"
        if case.input is not None and "nothing" in case.input:
            given = "refused: not the batch"
        tried = ["="] * 6  # plain, autocast, checkpointed, accumulated, compiled, two ranks: the tests above
        wrong = "; ".join(f"`{layer}`: {reason}" for layer, reason in case.wrong.items())
        lines.append(f"| {case.name} | {auto} | {named} | {given} | {' | '.join(tried)} | {wrong} |")
    return "\n".join(lines)


MARKS = ("<!-- matrix: written by tests/manifold/test_matrix.py -->\n", "\n<!-- end of matrix -->")


def test_the_page_shows_the_matrix() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = re.search(re.escape(MARKS[0]) + "(.*?)" + re.escape(MARKS[1]), text, re.DOTALL)
    assert shown is not None
    assert shown.group(1) == table(), "run: python tests/manifold/test_matrix.py"
    assert len(CASES) >= 60


if __name__ == "__main__":
    before, after = (PAGE.read_text(encoding="utf-8").split(mark)[i] for mark, i in zip(MARKS, (0, 1)))
    PAGE.write_text(f"{before}{MARKS[0]}{table()}{MARKS[1]}{after}", encoding="utf-8")
