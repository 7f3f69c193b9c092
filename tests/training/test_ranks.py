"""Several ranks train one run: averaged gradients of halves equal those of one process, after kills too."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from latentmix import config, runs
from latentmix.methods import Batch, Method
from latentmix.methods.amr_labels import AMRLabels
from latentmix.methods.vq_vae import VQVAE
from latentmix.networks.mlp import MLP
from latentmix.training.ranks import Ranks
from latentmix.training.step import make_optimisers, step
from latentmix.training.streams import check_batch_size

SHAPE, BATCH, STEPS = (1, 4, 4), 8, 3
METHODS = {
    "amr_labels": lambda: AMRLabels(SHAPE, 3, network=MLP(d_h=4, width=8)),
    "vq_vae": lambda: VQVAE(
        SHAPE, 3, network=MLP(d_h=4, width=8), vectors=2, codewords=8, decay=0.5, revive=0
    ),
}


def method_of(name: str) -> Method:
    torch.manual_seed(0)
    return METHODS[name]().double()


def batch_of(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    x = torch.rand(BATCH, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1
    return x, torch.tensor([0, -1, -1, -1, 1, 2, 0, 1])  # one label in the first half, four in the second


def one_rank(name: str, out: Path) -> None:
    """What each process of the test does."""
    ranks = Ranks()
    ranks.join(torch.device("cpu"))
    method = method_of(name)
    optimisers = make_optimisers(method, 1e-2)
    generator = torch.Generator().manual_seed(ranks.rank)
    for number in range(STEPS):
        x, y = (ranks.part(t) for t in batch_of(number))
        batch = Batch(x, y, generator=generator, ranks=ranks.count, total=ranks.total)
        step(method, batch, optimisers, average=ranks.average)
    ranks.leave()
    torch.save(method.state_dict(), out / f"{ranks.rank}.pt")


def together(name: str) -> Method:
    """One process that mixes inside halves of each batch and averages their gradients.

    Each half has a copy of the networks, as spectral norm iterates once in a forward pass.
    """
    copies = [method_of(name) for _ in range(2)]
    optimisers = [make_optimisers(method, 1e-2) for method in copies]
    generators = [torch.Generator().manual_seed(rank) for rank in range(2)]
    seen: list[torch.Tensor] = []  # number of labels in each batch
    for number in range(STEPS):
        x, y = batch_of(number)
        seen.append((y >= 0).sum())
        gradients = []
        for half, method in enumerate(copies):
            rows = slice(4 * half, 4 * half + 4)
            batch = Batch(x[rows], y[rows], generator=generators[half], ranks=2, total=lambda _: seen[-1])
            losses, _ = method.losses(batch)
            players = method.players()
            gradients.append(
                {p: torch.autograd.grad(loss, players[p], retain_graph=True) for p, loss in losses.items()}
            )
        for method, stepping in zip(copies, optimisers):
            for player, parameters in method.players().items():
                for parameter, *halves in zip(parameters, *(g[player] for g in gradients)):
                    parameter.grad = torch.stack(halves).mean(0)
                stepping[player].step()
    return copies[0]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def environment(rank: int, port: str) -> dict[str, str]:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    return os.environ | place | {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}


def two(command: list[str], cwd: Path) -> list[subprocess.Popen[bytes]]:
    port = free_port()
    return [
        subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(rank, port) | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
            stderr=(cwd / f"err{rank}").open("wb"),
            start_new_session=True,
        )
        for rank in range(2)
    ]


def test_two_ranks_equal_one_process_that_mixes_inside_halves(tmp_path: Path) -> None:
    code = f"import test_ranks, pathlib; test_ranks.one_rank('amr_labels', pathlib.Path({str(tmp_path)!r}))"
    processes = two([sys.executable, "-c", code], tmp_path)
    assert [p.wait(120) for p in processes] == [0, 0], (tmp_path / "err0").read_text()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    expected = together("amr_labels").state_dict()
    for key, value in expected.items():
        torch.testing.assert_close(first[key], value, rtol=0, atol=1e-12)
        assert torch.equal(first[key], second[key])


def test_a_codebook_follows_the_vectors_of_all_ranks(tmp_path: Path) -> None:
    code = f"import test_ranks, pathlib; test_ranks.one_rank('vq_vae', pathlib.Path({str(tmp_path)!r}))"
    processes = two([sys.executable, "-c", code], tmp_path)
    assert [p.wait(120) for p in processes] == [0, 0], (tmp_path / "err0").read_text()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def train(folder: Path, settings: list[str], *more: str) -> list[subprocess.Popen[bytes]]:
    return two([sys.executable, "-m", "latentmix", "train", *settings, *more, "out=run"], folder)


def test_killed_ranks_continue_with_the_same_bits(tmp_path: Path, tiny_settings: list[str]) -> None:
    """Both are killed once a checkpoint is there; another number of ranks is refused."""
    settings = [*tiny_settings, "epochs=3", "method=semi_supervised", "labelled=40"]
    settings = [s for s in settings if not s.startswith("method.network")]
    settings += ["method.network=pre_act_res_net", "method.network.width=4"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    processes = train(tmp_path / "whole", settings)
    assert [p.wait(240) for p in processes] == [0, 0], (tmp_path / "whole" / "err0").read_text()
    processes = train(tmp_path / "killed", settings)
    while not (tmp_path / "killed" / "run" / "checkpoints" / "last").exists():
        time.sleep(0.02)
        assert all(p.poll() is None for p in processes)
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    alone = subprocess.run(
        [sys.executable, "-m", "latentmix", "train", *settings, "out=run"],
        cwd=tmp_path / "killed",
        capture_output=True,
        text=True,
    )
    assert alone.returncode == 2
    assert "was started by 2 ranks and cannot be continued by 1" in alone.stderr
    processes = train(tmp_path / "killed", settings)
    assert [p.wait(240) for p in processes] == [0, 0], (tmp_path / "killed" / "err0").read_text()
    a, b = (tmp_path / name / "run" for name in ("whole", "killed"))
    mine, theirs = (load_file(run / "checkpoints" / "last" / "model.safetensors") for run in (a, b))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    logs = [[{**record, "seconds": 0} for record in runs.read_log(run)] for run in (a, b)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("size", [7, 2])
def test_a_batch_that_ranks_cannot_share_is_refused(size: int) -> None:
    run = config.load([f"batch_size={size}"])
    with pytest.raises(ValueError, match=f"batch_size={size} must be a multiple of the 2 ranks"):
        check_batch_size(run, 100, method_of("amr_labels"), 2)
    check_batch_size(config.load(["batch_size=8"]), 100, method_of("amr_labels"), 2)
