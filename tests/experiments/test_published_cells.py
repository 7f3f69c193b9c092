"""What the tables have beside ours: a dozen numbers picked from the papers' text, and how many there are."""

from __future__ import annotations

import pytest

from latentmix import config
from latentmix.config import protocol
from latentmix.experiments import table, tables
from latentmix.tables.plan import plan
from latentmix.tables.table import Published

AMR = {"AE+GAN": "ae_gan", "AMR": "amr", "ACAI": "acai_of_amr", "VAE": "vae"}


def published(name: str, cell: str, column: str) -> Published:
    (found,) = [c for c in table(name).cells if c.name == cell]
    return found.published[column]


@pytest.mark.parametrize(
    ("name", "cell", "column", "mean", "deviation", "n"),
    [
        ("amr-table1", "MNIST: AE+GAN", "accuracy", 97.52, 0.29, 3),
        ("amr-table1", "KMNIST: AMR Bern 2", "accuracy", 81.54, 3.46, 3),
        ("amr-table1", "SVHN: AMR mixup 3", "accuracy", 47.34, 3.79, 3),
        ("amr-table1", "MNIST: ACAI", "accuracy", 98.66, 0.36, 3),
        ("amr-table2", "SVHN(1k): ACAI", "accuracy", 24.15, 1.65, 3),
        ("amr-table2", "SVHN(20k): AMR mixup 2", "accuracy", 36.27, 3.76, 3),
        ("amr-table3", "SVHN (256): AMR mixup 8", "accuracy", 75.71, 1.29, 3),
        ("amr-table3", "CIFAR10 (1024): AMR mixup 4", "accuracy", 61.72, 0.20, 3),
        ("amr-table3", "CIFAR10 (256): ACAI, its own paper", "accuracy", 52.77, 0.45, 5),
        ("amr-table4", "AMR Bern 3", "as published", 56.00, 0.91, 3),
        ("amr-reproduction-table1", "KMNIST: AMR Bern 2", "accuracy", 65.64, None, 1),
        ("manifold-table1", "PreActResNet152: Manifold Mixup, all layers", "accuracy", 97.622, None, 1),
        ("manifold-table1", "PreActResNet18: Manifold Mixup", "NLL", 0.1407, None, 1),
        ("manifold-table2", "PreActResNet34: input mixup", "NLL", 1.085, None, 1),
        ("manifold-table3", "Manifold Mixup", "zoom 1.6", 27.02, None, 1),
        ("manifold-table7", "input mixup (alpha = 2)", "shear 2.5", 21.22, None, 1),
        ("manifold-table4", "SVHN: Manifold Mixup", "error at the best validation epoch", 5.70, 0.48, 5),
        ("manifold-table5", "CIFAR-10: Manifold Mixup", "FGSM 0.03", 77.50, None, 1),
        ("manifold-table6", "CIFAR-10: GAN-GP, FR+FF", "class score", 7.55, None, 3),
        ("manifold-table6", "CIFAR-10: SN-GAN, FR+FF", "Frechet, training images", 20.6, None, 3),
        ("manifold-table6", "CIFAR-10: SN-GAN with hinge, FR", "Frechet, training images", 22.6, None, 3),
        ("manifold-table6", "CIFAR-10: GAN-GP, FR in pixels or stem", "class score", 8.05, None, 3),
        ("manifold-table6", "CIFAR-10: WGAN-GP", "its deviation over 10 splits", 0.08, None, 3),
        ("manifold-table8", "task B: mixed factors", "accuracy", 84.02, None, 1),
        ("manifold-table8", "task C: mixed pixels", "NLL", 1.4181, None, 1),
    ],
)
def test_numbers_of_the_papers(
    name: str, cell: str, column: str, mean: float, deviation: float | None, n: int
) -> None:
    assert published(name, cell, column) == Published(mean, deviation, n)


@pytest.mark.parametrize(
    ("name", "count"),
    [("amr-table1", 17), ("amr-table2", 20), ("amr-table3", 27), ("amr-table4", 6)],
)
def test_every_cell_of_amr_is_there(name: str, count: int) -> None:
    assert sum(bool(cell.published) for cell in table(name).cells) == count


@pytest.mark.parametrize(
    ("name", "cell", "lamb", "k", "d_h", "epochs"),
    [
        ("amr-table1", "MNIST: AMR mixup 3", 20, 3, 32, 2000),
        ("amr-table1", "SVHN: ACAI", 2, 2, 32, 6000),
        ("amr-table2", "SVHN(20k): AE+GAN", 20, None, 32, 4000),
        ("amr-table2", "SVHN(10k): ACAI", 2, 2, 32, 6000),
        ("amr-table3", "SVHN (256): AMR Bern 2", 10, 2, 256, 4500),
        ("amr-table3", "CIFAR10 (1024): ACAI", 20, 2, 1024, 8000),
    ],
)
def test_settings_of_a_cell(name: str, cell: str, lamb: float, k: int | None, d_h: int, epochs: int) -> None:
    (task, *_) = plan(table(name), "paper", seeds=1, only=(cell.replace("[", "[[]"),))
    run = task.run
    assert run.method["lamb"] == lamb
    assert run.method.get("mixer", {}).get("k") == k
    assert run.method["network"]["d_h"] == d_h
    assert run.epochs == epochs
    assert task.cell.name == cell
    # What the published code ran, and the paper's text does not say.
    assert run.method["network"]["variant"] == "paper"
    assert run.every == {"autoencoder": 5}
    assert (run.lr, run.keep_last, run.method["reconstruction"]) == (1e-4, True, "l1")
    assert (run.subset, run.weight_decay) == ("first", None)
    assert protocol.deviations(run.as_dict()) == []


def test_masks_of_two_share_a_probability_and_masks_of_three_take_each_parent_alike() -> None:
    of = {
        task.cell.name: task.run.method["mixer"]["p"]
        for name in ("amr-table1", "amr-table4")
        for task in plan(table(name), "paper", seeds=1, only=("*Bern*",))
    }
    assert of["MNIST: AMR Bern 2"] == "batch"
    assert of["AMR Bern 3"] == "unit"


def test_table_4_has_the_published_losses_and_critics() -> None:
    runs = {task.cell.name: task.run for task in plan(table("amr-table4"), "paper", seeds=1)}
    for name, run in runs.items():
        assert protocol.deviations(run.as_dict()) == []
        if name.startswith("A"):
            assert (run.weight_decay, run.method["lamb"], run.method["reconstruction"]) == (
                0.0,
                1.0,
                "bce_sum",
            )
            assert run.method["network"]["width"] == (64 if name == "AE+GAN" else 32)
        assert run.method["network"]["variant"] == "paper"


def test_the_report_that_reproduced_amr_has_its_schedule_and_optimiser() -> None:
    run = plan(table("amr-reproduction-table1"), "paper")[0].run
    assert (run.lr, run.betas, run.weight_decay) == (1e-2, [0.9, 0.999], 0.0)
    assert (run.schedule, len(run.drops)) == ("step", 5)  # from 1e-2 to 1e-7


def test_every_table_can_be_planned_at_every_scale() -> None:
    for each in tables().values():
        assert "smoke" in each.scales, each.name
        for scale in each.scales:
            tasks = plan(each, scale)
            assert all(task.images for task in tasks if task.data not in ("mnist_m",)), (each.name, scale)


def test_tables_share_trainings() -> None:
    first = {task.key for task in plan(table("manifold-table1"), "paper")}
    assert {task.key for task in plan(table("manifold-figure1"), "paper")} <= first
    assert {task.key for task in plan(table("manifold-appendix-d"), "paper")} <= first
    assert {task.key for task in plan(table("amr-figure6"), "paper")} <= {
        task.key for task in plan(table("amr-table1"), "paper")
    }


def test_paper_is_one_switch_and_what_differs_is_named() -> None:
    run = config.resolve({"protocol": "paper", "method": {"name": "amr", "mixer": "bernoulli"}, "lr": 1e-3})
    assert protocol.deviations(run.as_dict()) == ["lr: 0.001 (paper: 0.0001)"]
    clean = config.resolve({"method": {"name": "amr", "mixer": "bernoulli"}})
    assert clean.method["network"]["variant"] == "clean"
    assert clean.every == {}
    assert protocol.deviations(clean.as_dict()) == []
    plain = config.resolve({"protocol": "paper", "method": {"name": "classifier", "layers": "none"}})
    mixed = config.resolve({"protocol": "paper", "method": {"name": "classifier"}})
    assert (plain.method["loss"], mixed.method["loss"]) == ("cross_entropy", "bce_on_softmax")
    assert (mixed.batch_size, mixed.crop, mixed.flip) == (128, 4, True)
    cifar = config.resolve({"protocol": "paper", "method": "semi_supervised", "data": "cifar10"})
    svhn = config.resolve({"protocol": "paper", "method": "semi_supervised", "data": "svhn"})
    assert [run.method["zca"] for run in (cifar, svhn)] == [True, False]
    assert [run.method["weight"] for run in (cifar, svhn)] == [1.0, 2.0]
    assert cifar.method["form"] == "paper"


@pytest.mark.parametrize("method", ["autoencoder", "gaia", "vae", "hidden_decoder", "factor_mixing"])
def test_paper_suits_every_method(method: str) -> None:
    run = config.resolve({"protocol": "paper", "method": method})
    assert run.protocol == "paper"
    assert protocol.deviations(run.as_dict()) == []
