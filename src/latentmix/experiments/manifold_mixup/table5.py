"""Manifold Mixup, table 5: one step of the fast gradient sign method."""

from latentmix.experiments.manifold_mixup.classifiers import PAPER, TINY, training
from latentmix.tables.table import Cell, Column, Published, Scale, Table

SMOKE = Scale(TINY.change, seeds=1, metrics=("robustness.n=20", "robustness.n_pgd=2"))

FGSM = "FGSM 0.03"
TABLE = Table(
    name="manifold-table5",
    title="test accuracy under FGSM, PreActResNet18",
    paper="Manifold Mixup, table 5",
    columns=(
        Column(FGSM, "robustness", "fgsm", "%"),
        Column("FGSM 8/255, pixels", "robustness", "fgsm_pixels", "%"),
    ),
    metrics=("robustness.n=10000",),
    checkpoint="best",
    cells=(
        Cell("CIFAR-10: thermometer codes, Buckman et al.", None, {FGSM: Published(80.97)}),
        Cell("CIFAR-10: adversarial training, Madry et al.", None, {FGSM: Published(60.30)}),
        *(
            Cell(f"CIFAR-10: {mixing}", training("cifar10", mixing), {FGSM: Published(mean)})
            for mixing, mean in (("no mixup", 36.32), ("input mixup", 71.51), ("Manifold Mixup", 77.50))
        ),
        *(
            Cell(
                f"CIFAR-100: {mixing}",
                training("cifar100", mixing),
                {FGSM: Published(mean)},
                note="the paper does not name the network",
            )
            for mixing, mean in (("input mixup", 40.7), ("Manifold Mixup", 44.96))
        ),
    ),
    scales={"paper": PAPER, "smoke": SMOKE},
)
