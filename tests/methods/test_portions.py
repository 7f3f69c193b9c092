"""Many images: their number at a time follows from the largest layer, small networks compute 500 as ever."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils.parametrizations import spectral_norm

from latentmix import config, runs
from latentmix.apps.augment.arms import correct
from latentmix.apps.refine import refine
from latentmix.data import Data, Split
from latentmix.methods import Method, portions
from latentmix.methods.attribute_vectors import edit
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.methods.portions import at_once, in_portions, in_recomputed_portions
from latentmix.metrics import disentanglement, on_spiral
from latentmix.metrics.attribute_mixes import agreement
from latentmix.metrics.classification import predictions
from latentmix.metrics.features.classifier import Classifier
from latentmix.metrics.spread import codes_of
from latentmix.reports.exhibit import exhibit
from latentmix.scoring import data_of, evaluate
from latentmix.training.device import Runtime
from latentmix.training.loop import Silent, Trainer
from latentmix.training.samples import walks

LAYER = 16 * 4 * 4 * 4  # bytes of 16 maps of 4 x 4, the largest layer of `Wide`


class Wide(nn.Module):
    """Encodes pixels to twice their value, by way of 16 maps that nobody sees from outside."""

    code_shape = (1, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.sizes = list[int]()
        self.hidden = nn.Sequential(nn.Conv2d(1, 16, 1), nn.Conv2d(16, 1, 1))

    def encode(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        self.hidden(x)
        return 2 * x

    def decode(self, h: Tensor) -> Tensor:
        self.sizes.append(len(h))
        return h / 2


@pytest.mark.parametrize(
    ("bound", "sizes"),
    [(7 * LAYER, [1, 7, 7, 6]), (8 * LAYER - 1, [1, 7, 7, 6]), (1, [1] * 21), (20 * LAYER, [1, 20])],
)
def test_portions_follow_from_the_largest_layer_of_one_image(
    monkeypatch: pytest.MonkeyPatch, bound: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(portions, "BYTES", bound)
    method, x = Wide(), torch.randn(20, 1, 4, 4)
    torch.testing.assert_close(in_portions(method, "encode", x), 2 * x, rtol=0, atol=0)
    assert method.sizes == sizes
    method.sizes.clear()
    in_portions(method, "encode", x)
    assert method.sizes == sizes[1:], "one image is looked at once"


def test_small_images_are_computed_500_at_a_time() -> None:
    method = Wide()
    in_portions(method, "encode", torch.zeros(1003, 1, 4, 4))
    assert method.sizes == [1, 500, 500, 3]
    assert at_once(method, "encode", torch.zeros(2, 1, 64, 64)) == 500  # 2 ** 27 / (16 * 64 * 64 * 4) is 512
    assert at_once(method, "encode", torch.zeros(2, 1, 256, 256)) == 2**27 // (16 * 256 * 256 * 4)


def test_half_precision_changes_no_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "BYTES", 7 * LAYER)
    method = Wide()
    with torch.autocast("cpu", torch.bfloat16):
        in_portions(method, "encode", torch.zeros(8, 1, 4, 4))
    in_portions(method, "encode", torch.zeros(8, 1, 4, 4))
    assert method.sizes == [1, 7, 1, 7, 1]


def test_layers_that_cannot_be_seen_are_taken_for_64_times_the_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portions, "BYTES", 3 * 64 * 16 * 4)
    method = Wide()
    in_portions(method, "decode", torch.zeros(8, 1, 4, 4))
    assert method.sizes == [1, 3, 3, 2]


def test_weights_that_a_layer_normalises_are_none_of_its_rows() -> None:
    layer = spectral_norm(nn.Conv2d(1, 1024, 1)).eval()
    assert portions._largest_layer(layer, torch.zeros(1, 1, 1, 1)) == 4 * 1024
    wide = spectral_norm(nn.Linear(1024, 1024)).eval()
    assert portions._largest_layer(wide, torch.zeros(1, 1024)) == 4 * 1024


def test_one_image_is_computed_once() -> None:
    method = Wide()
    in_portions(method, "encode", torch.zeros(1, 1, 4, 4))
    assert method.sizes == [1]


def test_report_metrics_and_pictures_keep_the_bound(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a large autoencoder: five images fill the memory that a portion may take."""
    folder, sizes = tmp_path / "run", list[int]()
    shutil.copytree(tiny_run, folder)
    opened = runs.open_run(folder)
    data = data_of(opened)
    x = data.test.pixels(slice(0, 2))
    h = in_portions(opened.method, "encode", x)
    both = (opened.method.encode, x[:1]), (opened.method.decode, h[:1])
    layer = min(portions._largest_layer(half, row) for half, row in both)  # type: ignore[arg-type]
    monkeypatch.setattr(portions, "BYTES", 5 * layer)
    for half in ("encode", "decode"):
        whole = getattr(AutoencoderMethod, half)

        def counted(self: AutoencoderMethod, rows: Tensor, whole=whole) -> Tensor:  # type: ignore[no-untyped-def]
            sizes.append(len(rows))
            return whole(self, rows)

        monkeypatch.setattr(AutoencoderMethod, half, counted)
    exhibit(folder)
    walks(opened.method, x)
    _, failures = evaluate(folder, ["reconstruction", "blend.n=20", "knn"])
    assert not failures
    assert 2 <= max(sizes) <= 5
    assert len(sizes) > 100


SHAPE, ROWS = (1, 16, 16), 12


def made(name: str, **options: object) -> Method:
    torch.manual_seed(0)
    spec = config.resolve({"method": {"name": name, **options}}).method
    return config.build("method", spec, shape=SHAPE, num_classes=3, num_attributes=3).eval()


def some(rows: int = ROWS) -> Split:
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (rows, *SHAPE), generator=g).byte()
    attributes = torch.randint(2, (rows, 3), generator=g).byte()
    return Split(images, torch.arange(rows) % 3, attributes, torch.randint(3, (rows, 2), generator=g))


def validated(folder: Path) -> list[float]:
    """What the loop measures of validation images by a GAN, a VAE and a VQ-VAE."""
    data = Data("some", some(), some(), some(), ("a", "b", "c"), (), "0" * 64)
    conv = {"network": {"name": "conv", "width": 4}}
    found = []
    for name, options in (
        ("gan", {"network": {"width": 2}}),
        ("vae", conv),
        ("vq_vae", {**conv, "codewords": 8}),
    ):
        method = made(name, **options)
        run = config.resolve(
            {"method": name, "data": "digits", "epochs": 1, "batch_size": 4, "out": str(folder)}
        )
        trainer = Trainer(run, data, Runtime("cpu", "fp32"), Silent(), method=method)
        found += list(trainer.evaluate(data.valid).values())
    return found


def refined(folder: Path) -> list[Tensor]:
    method = made("amr", network={"name": "conv", "width": 4}).double()
    found = refine(method, some().pixels().double(), 4)
    return [found.codes, *found.method.state_dict().values(), torch.tensor(found.errors)]


def answers(folder: Path) -> Tensor:
    torch.manual_seed(0)
    return correct(Classifier(1, 3).eval(), some(64))


def factor_codes(folder: Path) -> Tensor:
    return torch.from_numpy(disentanglement._encoded(made("amr").encode, some(), 0)[0])  # type: ignore[operator]


def points(folder: Path) -> list[Tensor]:
    torch.manual_seed(0)
    spec = config.resolve({"method": {"name": "amr", "network": {"name": "mlp", "d_h": 2}}}).method
    method = config.build("method", spec, shape=(2, 1, 1)).eval()
    return list(on_spiral.points_and_codes(method, ROWS))


def asked_mixes(folder: Path) -> list[float]:
    split = some()
    assert split.attributes is not None
    x, y = split.pixels().unflatten(0, (-1, 2)), split.attributes.float().unflatten(0, (-1, 2))
    return list(agreement(made("amr_classes"), x, y).values())  # type: ignore[arg-type]


PLACES: dict[str, Callable[[Path], object]] = {
    "validation images, in the loop": validated,
    "pictures that a model is fitted to": refined,
    "samples of a GAN": lambda _: made("gan").sample(ROWS, torch.Generator().manual_seed(0)),  # type: ignore[operator]
    "logits of a classifier": lambda _: predictions(made("classifier", network={"width": 4}), some())[0],  # type: ignore[arg-type]
    "codes of a bottleneck": lambda _: codes_of(
        made("classifier", network={"name": "bottleneck", "width": 8}, layers=[]), some()
    ),
    "edited images": lambda _: edit(made("amr"), some().pixels(), torch.ones(made("amr").code_shape)),  # type: ignore[arg-type]
    "classified images of an arm": answers,
    "codes of factors": factor_codes,
    "points of the spiral": points,
    "mixes for attributes": asked_mixes,
}


PERCEPTRONS = ("codes of a bottleneck", "points of the spiral")


@contextmanager
def rows_seen(kind: type[nn.Module] = nn.Conv2d) -> Iterator[list[int]]:
    """The number of rows that each layer of a kind takes, until the block ends."""
    seen: list[int] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if isinstance(module, kind):
            seen.append(len(inputs[0]))

    hook = register_module_forward_hook(look)
    try:
        yield seen
    finally:
        hook.remove()


@pytest.mark.parametrize("place", PLACES)
def test_no_layer_sees_more_rows_than_fit(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = PLACES[place](tmp_path)
    monkeypatch.setattr(portions, "BYTES", 1)
    with rows_seen(nn.Linear if place in PERCEPTRONS else nn.Conv2d) as seen:
        apart = PLACES[place](tmp_path)
    assert seen
    assert max(seen) == 1
    torch.testing.assert_close(apart, whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_gradients_over_portions_are_those_of_one_pass(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method = made("amr", network={"name": "conv", "width": 4}).double()
    h = torch.randn(ROWS, *method.code_shape, dtype=torch.float64, requires_grad=True)  # type: ignore[arg-type]
    wanted = torch.randn(ROWS, *SHAPE, dtype=torch.float64)
    inputs = [h, *method.autoencoder.decoder.parameters()]  # type: ignore[union-attr]

    def gradients(images: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((images - wanted).square().mean(), inputs)

    whole = gradients(method.decode(h))  # type: ignore[operator]
    at_once(method, "decode", h.detach())
    layer = next(iter(portions._known[method].values()))
    monkeypatch.setattr(portions, "BYTES", rows * portions.KEPT * layer)
    with rows_seen() as seen:
        apart = gradients(in_recomputed_portions(method, "decode", h))
    assert max(seen) == rows
    assert seen.count(rows) >= 2 * math.floor(ROWS / rows), "each portion is computed twice"
    torch.testing.assert_close(apart, whole, rtol=1e-10, atol=1e-12)


def test_autograd_keeps_at_most_the_multiple_of_the_largest_layer_that_portions_assume() -> None:
    for network in ("conv", "residual", "acai", "burgess", "gaia"):
        shape = (3, 64, 64)
        spec = config.resolve({"method": {"name": "autoencoder", "network": network}}).method
        method = config.build("method", spec, shape=shape).eval()
        h = torch.zeros(1, *method.code_shape, requires_grad=True)
        known = {p.untyped_storage().data_ptr() for p in method.parameters()}
        kept: dict[int, int] = {}

        def note(tensor: Tensor, known=known, kept=kept) -> Tensor:  # type: ignore[no-untyped-def]
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            images = method.decode(h)
        assert images.requires_grad
        assert sum(kept.values()) <= portions.KEPT * portions._largest_layer(method.decode, h.detach())
