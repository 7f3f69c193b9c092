"""Two ranks, each with half of the batch: gradients must be the mean of what each computes alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from latentmix.manifold.manifold_mixup import ManifoldMixup

LAYERS = ["input", "0", "2"]


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def data(rank: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(rank)
    return torch.randn(6, 4, generator=g), torch.randint(3, (6,), generator=g)


def step(model: nn.Module, mm: ManifoldMixup, x: Tensor, y: Tensor) -> str | None:
    with mm(len(x)) as m:
        loss = m.loss(F.cross_entropy, model(x), y)
    loss.backward()
    return m.layer


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    for detach in (False, True):
        model = mlp()
        mm = ManifoldMixup(model, LAYERS, detach=detach, generator=torch.Generator().manual_seed(9))
        # Every parameter has a gradient, blocked or not: DDP would wait for one that had none.
        parallel = DistributedDataParallel(model)
        layers = [step(parallel, mm, *data(rank)) for _ in range(4)]
        torch.save((layers, [p.grad for p in model.parameters()]), f"{folder}/{rank}{detach}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(rank_main, (str(tmp_path),), nprocs=2)
    for detach in (False, True):
        alone = []
        for rank in range(2):
            model = mlp()
            mm = ManifoldMixup(model, LAYERS, detach=detach, generator=torch.Generator().manual_seed(9))
            layers = [step(model, mm, *data(rank)) for _ in range(4)]
            alone.append([p.grad for p in model.parameters()])
        assert len(set(layers)) > 1
        for rank in range(2):
            seen, gradients = torch.load(tmp_path / f"{rank}{detach}.pt")
            assert seen == layers  # one seed on all ranks: one layer
            for ours, *theirs in zip(gradients, *alone):
                torch.testing.assert_close(ours, sum(theirs) / 2)
