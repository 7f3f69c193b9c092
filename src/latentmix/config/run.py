"""`Run`, the configuration that determines the numbers of a training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Names = Annotated[
    list[str], BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)
]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int | float) else value


Betas = Annotated[
    list[Annotated[float, Field(ge=0, lt=1)]],
    Field(min_length=2, max_length=2),
    BeforeValidator(lambda value: [float(b) for b in value.split(",")] if isinstance(value, str) else value),
]
Classes = Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_listed)]
Shares = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], BeforeValidator(_listed)]
Schedule = Literal["constant", "cosine", "linear", "step"]


@dataclass(frozen=True)
class Run:
    """Everything that determines the numbers of a training run, and the folder they are written to.

    Arguments:
        method, data: Resolved parts with all options, {"name": ..., option: value, ...}.
        protocol: With "paper", settings that are not given follow the published code
            (`latentmix.config.protocol`).
        image_size: Side of the square images, in pixels.
        classes: Classes whose images are kept, in all splits; None for all.
        train_size: Number of training images to keep; None for all.
        subset: Which images `train_size` keeps: those "drawn" by `seed`, or the "first" ones of the training
            split, the same for every seed.
        labelled: Number of training images that keep their label, evenly over the classes; None for all.
        attributes: Names of the attributes to train with, in this order; None for all.
        hold_out: {factor, attribute or "label": value or values}: the combination that is kept for testing.
        epochs: Number of passes over the training images; None if `steps` is given.
        steps: Number of training steps, instead of `epochs`.
        batch_size: Number of images in a step, over all ranks; by default that of the method.
        keep_last: Whether to train on the last, smaller batch of an epoch too.
        lr: Learning rate of every player; by default that of the method.
        probe_lr: Learning rate of the online probe; None for `lr`.
        schedule: How learning rates change over the training: "constant", "cosine" to zero, "linear" to zero,
            or "step", which divides them by ten at each of `drops`. Rates that the method sets itself are
            multiplied by it.
        drops: Shares of the training at which schedule=step divides the rates by ten, such as 0.5,0.75; by
            default 1/3 and 2/3. Only schedule=step takes them.
        betas: Decay rates of Adam's two means for every player; by default those of the method.
        weight_decay: Weight decay of every player; by default that of the method.
        every: {player: n}: the player steps on every n-th batch of an epoch. Players that are left out follow
            their leader, if the method names one, or else step on every batch.
        crop: Number of pixels by which training images are padded before random crops; 0 for no crops.
        padding: What images are padded with for crops: "black", or "reflect" for their own mirror image.
        flip: Whether each training image is mirrored with probability 1/2.
        validate_every: Number of epochs between validations; the last epoch is always validated. By default
            1, or, where few training images stand beside many to validate on, as many as keep validation a
            small part of the run.
        start_from: Folder of a finished run whose method this one builds on; empty for none.
        seed: Seed of the initialisation, the order of the data, and the mixing.
        precision: "fp32", or "bf16" for mixed precision with weights in fp32; "auto" takes bf16 where the
            processor or GPU computes it faster, and reports its choice.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        out: The run's folder.
    """

    method: dict[str, Any]
    data: dict[str, Any]
    protocol: Literal["clean", "paper"] = "clean"
    image_size: Annotated[int, Field(ge=8, le=1024)] = 32
    classes: Classes | None = None
    train_size: Positive | None = None
    subset: Literal["drawn", "first"] = "drawn"
    labelled: Positive | None = None
    attributes: Names | None = None
    hold_out: dict[str, Annotated[list[int], BeforeValidator(_listed)]] | None = None
    epochs: Positive | None = None
    steps: Positive | None = None
    batch_size: Annotated[int, Field(ge=2)] = 64
    keep_last: bool = False
    lr: Rate = 1e-3
    probe_lr: Rate | None = None
    schedule: Schedule = "constant"
    drops: Shares | None = None
    betas: Betas | None = None
    weight_decay: Annotated[float, Field(ge=0, le=1)] | None = None
    every: dict[str, Positive] = dataclasses.field(default_factory=dict)
    crop: Annotated[int, Field(ge=0, le=256)] = 0
    padding: Literal["black", "reflect"] = "black"
    flip: bool = False
    validate_every: Positive | None = None
    start_from: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    device: str = "auto"
    out: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries, as in config.yaml."""
        return dataclasses.asdict(self)


# Settings that runs of earlier versions may lack; those versions behaved as the defaults do.
YOUNGER = (
    *("steps", "keep_last", "probe_lr", "schedule", "every", "crop", "padding", "flip", "validate_every"),
    *("start_from", "labelled", "attributes", "hold_out", "protocol", "classes", "drops"),
    *("subset", "betas", "weight_decay"),
)
# Settings that are newer than the first tables: a training's key leaves them out where they have their
# defaults, so that what was finished before stays finished.
NOT_IN_OLD_KEYS = ("drops", "padding", "subset", "betas", "weight_decay")
