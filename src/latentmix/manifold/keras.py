"""Manifold Mixup in Keras 3 on PyTorch: hooks for its layers, which it calls without those of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from latentmix.manifold.hooks import tensors
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.manifold.passes import ALONE, MixedPass


class KerasNetwork(nn.Module):
    """A Keras model as a module with a submodule for each of its layers, for `ManifoldMixup`.

    `call` of the model and of every layer is led through these submodules, so that their hooks run wherever
    Keras calls them. The model itself is used as before, ``model(x, training=True)``: `training` decides
    whether it is mixed. Names are the layers' names, those of nested models after a slash.

    Arguments:
        model: A Keras 3 model that is built, with the backend "torch".

    Raises:
        ValueError: It is no such model.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        _refuse_others(model)
        self.keras: nn.Module = model
        self._call: Callable[..., Any] = model.call
        for layer in model._flatten_layers(include_self=False):
            place = nn.Identity()
            inside = [part for part in layer.path.split("/") if part != model.name] if layer.path else []
            self.add_module("/".join(inside) or layer.name, place)
            layer.call = _led_through(place, layer.call)
        model.call = self._enter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model computes, in the mode of this module."""
        return self._call(*args, **kwargs | {"training": self.training})

    def _enter(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        self.training = bool(training)
        return self(*args, **kwargs)


def _refuse_others(model: Any) -> None:
    if not isinstance(model, nn.Module) or not hasattr(model, "_flatten_layers"):
        raise ValueError(
            f"{type(model).__name__} is no Keras model on PyTorch: set KERAS_BACKEND=torch before Keras is "
            "imported"
        )


def _led_through(place: nn.Module, call: Callable[..., Any]) -> Callable[..., Any]:
    def led(*args: Any, **kwargs: Any) -> Any:
        return place(call(*args, **kwargs))

    return led


def mix_fit(model: Any, layers: Sequence[str] | str, **options: Any) -> ManifoldMixup:
    """Let ``model.fit`` mix hidden states and labels; call it after ``model.compile``.

    Every training step draws one mix, and the model's loss is averaged over both parents' labels and sample
    weights. Evaluation and prediction are as before. A last batch of one is left as it is.

    Arguments:
        layers, options: As for `ManifoldMixup`.
    """
    mm = ManifoldMixup(KerasNetwork(model), layers, **options)
    step, loss = model.train_step, model.compute_loss
    current: list[MixedPass] = []

    def train_step(data: Any) -> Any:
        size = len(next(tensors(data)))
        with mm(size if size > 1 else ALONE) as m:
            current.append(m)
            try:
                return step(data)
            finally:
                current.clear()

    def compute_loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        def of(output: Any, labels: tuple[Any, ...]) -> Tensor:
            weight = labels[1] if len(labels) > 1 else None
            return loss(x=x, y=labels[0], y_pred=output, sample_weight=weight, training=training)

        labels = (y,) if sample_weight is None else (y, sample_weight)
        return current[0].loss(of, y_pred, labels) if current and training else of(y_pred, labels)

    model.train_step, model.compute_loss = train_step, compute_loss
    return mm
