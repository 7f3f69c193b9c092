"""The page walks between codes and judges mixes by the same formulas as Python: in V8, without a browser."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import torch

from latentmix.apps.neighbours import Neighbours
from latentmix.apps.own_pictures import contrast, distance, nearest
from latentmix.metrics.honesty import exposures
from latentmix.mixing import crossover, lerp, slerp

racer = pytest.importorskip("py_mini_racer")


@pytest.fixture(scope="module")
def v8():
    context = racer.MiniRacer()
    for name in ("pictures.js", "mixing.js", "triangle.js"):
        context.eval((resources.files("latentmix.apps.page") / name).read_text())
    return context


def ask(v8, expression: str, **values: torch.Tensor):
    for name, value in values.items():
        v8.eval(f"var {name} = new Float32Array({json.dumps(value.flatten().tolist())})")
    return json.loads(
        v8.eval(f"var answer = {expression}; JSON.stringify(answer.length ? Array.from(answer) : answer)")
    )


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("name", "path"), [("lerp", lerp), ("slerp", slerp), ("crossover", crossover)])
@pytest.mark.parametrize("t", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_paths(v8, name, path, t) -> None:
    a, b = random(1, 6, 2, 2), random(1, 6, 2, 2, seed=1)
    expected = path(a, b, torch.tensor([t])).flatten()
    found = torch.tensor(ask(v8, f"Mixing.{name}(a, b, {t}, 6)", a=a, b=b))
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_great_circle_between_parallel_codes_is_a_line(v8) -> None:
    a = random(8)
    found = torch.tensor(ask(v8, "Mixing.slerp(a, b, 0.3, 8)", a=a, b=3 * a))
    assert torch.allclose(found, 0.7 * a + 0.9 * a, atol=1e-5)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.0), (0.2, 0.8, 0.0), (0.3, 0.3, 0.4)])
def test_ghosting_and_collapse(v8, shares) -> None:
    parents = random(3, 1, 1, 4, 4, seed=2)
    used = [i for i, w in enumerate(shares) if w]
    for share in (0.0, 0.6, 1.0):  # also of mixes that are near the blend, and near a parent
        near = share * sum(shares[i] * parents[i] for i in used) + (1 - share) * parents[used[0]]
        expected = exposures(near, parents[used], torch.tensor([[shares[i]] for i in used]))
        found = ask(
            v8,
            f"Mixing.exposures(m, [p, q, r], {list(shares)})",
            m=near,
            p=parents[0],
            q=parents[1],
            r=parents[2],
        )
        assert [found["ghosting"], found["collapse"]] == pytest.approx([e.item() for e in expected], abs=1e-4)


def test_one_parent_alone_is_no_mix(v8) -> None:
    x = random(16)
    found = ask(v8, "Mixing.exposures(x, [x, y], [1, 0])", x=x, y=-x)
    assert found == {"ghosting": None, "collapse": None}
    found = ask(v8, "Mixing.exposures(x, [x, x], [0.5, 0.5])", x=x)  # the same picture twice
    assert found == {"ghosting": None, "collapse": None}


@pytest.mark.parametrize("channels", [1, 3])
def test_contrast(v8, channels: int) -> None:
    x = random(1, channels, 4, 4).clamp(-1, 1)
    assert ask(v8, f"Mixing.contrast(x, {channels})", x=x) == pytest.approx(contrast(x).item(), abs=1e-6)


def test_the_nearest_training_image(v8) -> None:
    images = torch.randint(0, 256, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    x = random(1, 1, 4, 4).clamp(-1, 1)
    pixels = images.float() / 127.5 - 1
    v8.eval(f"var images = Uint8Array.from({images.flatten().tolist()})")
    found = ask(v8, "Mixing.nearest(x, images)", x=x)
    assert found["distance"] == pytest.approx(nearest(x, pixels).item(), abs=1e-5)
    assert found["index"] == int(distance(x.expand_as(pixels), pixels).argmin())


def test_several_nearest_in_order_and_their_votes(v8) -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (40, 1, 4, 4), generator=generator)
    labels = torch.randint(0, 3, (40,), generator=generator)
    reader = Neighbours(("a", "b", "c"), 6, 1.0, images.byte(), labels, k=7)
    v8.eval(f"var images = Uint8Array.from({images.flatten().tolist()})")
    v8.eval(f"var reader = {{labels: {labels.tolist()}, names: ['a', 'b', 'c'], k: 7, clear: 6}}")
    said = set()
    for seed in range(20):
        x, y, z = random(3, 1, 4, 4, seed=seed).clamp(-1, 1).unbind()
        votes = reader.votes(torch.stack([x, y, z]))
        expression = "Mixing.votes(Mixing.nearest(x, images, 7).indices, reader)"
        assert ask(v8, expression, x=x) == votes[0].tolist()
        doubt = reader.doubt(votes[0], [votes[1], votes[2]])
        given = f"{votes[0].tolist()}, [{votes[1].tolist()}, {votes[2].tolist()}], reader"
        assert v8.eval(f"Mixing.doubt({given})") == doubt
        said.add(doubt.split(" ")[0])
    assert said == {"", "hard", "reads"}


def test_the_triangle_is_read_where_it_is_drawn(v8) -> None:
    v8.eval("var document = { createElement: () => ({}) }")
    points = ask(v8, "Triangle.points()")
    assert len(points) == 15
    for point in points:
        assert ask(v8, f"Triangle.weigh({point['x']}, {point['y']})") == pytest.approx(
            point["weights"], abs=1e-9
        )
    outside = ask(v8, "Triangle.weigh(-50, 400)")
    assert min(outside) == 0
    assert sum(outside) == pytest.approx(1)
