"""The batches of a run: which rows, augmented how, and with which generators, by seed, step and rank."""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix import config
from latentmix.data import UNLABELLED, Split
from latentmix.data.augment import crop_and_flip
from latentmix.methods import Batch, Method
from latentmix.mixing.draws import sent
from latentmix.training.ranks import Ranks
from latentmix.training.streams import Stream, check_batch_size, host_generator, read_beforehand


class Batches:
    """The batch of each step of a run, as one rank gets it.

    Arguments:
        train: The training images, on the device.
        generator: Source of the random numbers that the method draws on the device.

    Attributes:
        steps_per_epoch: Steps in a pass over the images; with two streams, over those of the longer stream.
        total: Steps of the run.

    Raises:
        ValueError: The method needs labels that the data lack, or the batch size does not fit.
    """

    def __init__(
        self, run: config.Run, train: Split, method: Method, ranks: Ranks, generator: torch.Generator
    ) -> None:
        check_batch_size(run, len(train), method, ranks.count)
        self.run, self.train, self.ranks, self.generator = run, train, ranks, generator
        self.streams = self._streams(method)
        self.steps_per_epoch = self.streams[-1].steps
        self.total = run.steps or (run.epochs or 0) * self.steps_per_epoch

    def __call__(self, number: int) -> Batch:
        """Return the batch of a step; steps are counted from the start of the run."""
        train, ranks = self.train, self.ranks
        device = train.images.device
        host = host_generator(self.run.seed, number, ranks.rank)
        read_beforehand(train, self.streams, number, ranks.part)
        rows, *others = (sent(ranks.part(stream(number)), device) for stream in self.streams)
        unlabelled = self._images(others[0], host) if others else None
        return Batch(
            self._images(rows, host),
            None if train.labels is None else train.labels[rows],
            None if train.attributes is None else train.attributes[rows].float(),
            self.generator,
            unlabelled,
            number / self.total,
            host,
            None if train.factors is None else train.factors[rows],
            ranks.count,
            ranks.total,
        )

    def _images(self, rows: Tensor, host: torch.Generator) -> Tensor:
        train, run = self.train, self.run
        if run.crop or run.flip:
            images = crop_and_flip(train.images[rows], run.crop, run.flip, host, padding=run.padding)
            return Split(images).pixels().contiguous(memory_format=torch.channels_last)
        return train.pixels(rows).contiguous(memory_format=torch.channels_last)

    def _streams(self, method: Method) -> list[Stream]:
        """Return the streams of rows: one, or two for methods that train on "both" (labelled, then all)."""
        run, labels, kind = self.run, self.train.labels, method.trains_on
        everything = torch.arange(len(self.train))
        rows = everything
        if kind != "all":
            if labels is None:
                raise ValueError(f"method {run.method['name']} needs data with labels, and these have none")
            rows = everything[(labels != UNLABELLED).cpu()]
            if len(rows) < 2:
                raise ValueError(
                    f"method {run.method['name']} needs 2 labelled images, there are {len(rows)}"
                )
        multiple = self.ranks.count

        def stream(rows: Tensor, number: int) -> Stream:
            size = min(run.batch_size, len(rows) - len(rows) % multiple)
            return Stream(rows, size, run.seed, number=number, keep_last=run.keep_last, multiple=multiple)

        return [stream(rows, 0)] + ([stream(everything, 1)] if kind == "both" else [])
