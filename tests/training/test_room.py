"""Memory: what a training keeps is counted by hand, and what cannot fit is refused before it starts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from latentmix import memory
from latentmix.data import Split
from latentmix.methods import Batch, Losses, Method
from latentmix.training.room import check_memory


class Squares(Method):
    """Autograd keeps the images, x**2 and nothing else of each step: 2 * 4 * 3 * 8 * 8 bytes an image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.ParameterDict({"a": nn.Parameter(torch.ones(())), "b": nn.Parameter(torch.ones(()))})

    def losses(self, batch: Batch) -> Losses:
        hidden = (batch.x * self.scale["a"]) ** 2
        return {"scale": hidden.mul(self.scale["b"]).mean()}, {}


class Broken(Squares):
    def losses(self, batch: Batch) -> Losses:
        raise RuntimeError("the first step will tell")


@pytest.fixture
def split() -> Split:
    return Split(torch.zeros(100, 3, 8, 8, dtype=torch.uint8))


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(memory, "free", lambda: size)


EACH = 3 * 4 * 3 * 8 * 8  # x, x * a and its square, in single precision


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 40 * EACH + 24)  # two parameters, three times
    check_memory(Squares(), split, 40)
    with pytest.raises(ValueError) as error:
        check_memory(Squares(), split, 41)
    assert "batch_size=41 of images of 8x8 pixels needs about" in str(error.value)
    assert "batch_size=31 would fit" in str(error.value)  # in four fifths of what is free
    free(monkeypatch, EACH)
    with pytest.raises(ValueError, match="are free; a smaller image_size or network needs less"):
        check_memory(Squares(), split, 41)


def test_parameters_count_with_their_gradients_and_moments(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Squares()
    method.scale["c"] = nn.Parameter(torch.zeros(1000))  # in no loss, and yet it has a place in the optimiser
    free(monkeypatch, 2 * EACH + 3 * 4 * 1002)
    check_memory(method, split, 2)
    free(monkeypatch, 2 * EACH + 3 * 4 * 1002 - 4)
    with pytest.raises(ValueError, match="GB of memory"):
        check_memory(method, split, 2)


def test_the_method_and_the_random_numbers_stay_as_they_were(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noisy(Squares):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def losses(self, batch: Batch) -> Losses:
            return {"scale": (self.norm(batch.x) + torch.randn(1) * self.scale["a"]).mean()}, {}

    method = Noisy().eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    state = torch.get_rng_state()
    free(monkeypatch, 10**5)
    check_memory(method, split, 3)
    after: dict[str, Tensor] = method.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not method.training


def test_nothing_is_measured_where_much_is_free_or_nobody_knows(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> int:
        raise OSError

    monkeypatch.setattr(Squares, "losses", lambda *_: pytest.fail("it was measured"))
    free(monkeypatch, 10**12)
    check_memory(Squares(), split, 100)
    monkeypatch.setattr(memory, "free", unknown)
    check_memory(Squares(), split, 100)


def test_what_is_wrong_with_the_losses_is_left_to_the_first_step(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 10)
    check_memory(Broken(), split, 100)


@pytest.mark.parametrize(("side", "at_once"), [(32, 500), (128, 500), (256, 170), (1024, 10), (8192, 2)])
def test_fewer_large_images_are_computed_at_a_time(side: int, at_once: int) -> None:
    assert Split(torch.empty(1, 1, 1, 1, dtype=torch.uint8).expand(2, 3, side, side)).at_once == at_once
