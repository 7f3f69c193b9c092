"""AMR, figure 13: what consistency does to walks between faces."""

from latentmix.experiments.amr.walks import system, table

METHODS = {f"beta = {beta:g}": system("amr", consistency=beta) for beta in (0.0, 50.0)}
TABLE = table(13, "walks between faces without and with consistency", "celeba", METHODS, "mixup")
