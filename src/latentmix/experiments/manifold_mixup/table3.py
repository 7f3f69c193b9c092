"""Manifold Mixup, table 3: some rows of table 7."""

from latentmix.experiments.manifold_mixup.table7 import table

ROWS = ("rotation_20", "rotation_60", "shear_0.5", "shear_1", "zoom_0.8", "zoom_1.4", "zoom_1.6")
TABLE = table(3, ROWS)
