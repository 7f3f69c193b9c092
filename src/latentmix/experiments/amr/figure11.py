"""AMR, figure 11: walks between larger images of shoes by masks."""

from latentmix.experiments.amr.walks import BERNOULLI, SHOES, system, table

METHODS = {"AMR Bern 2": system("amr", mixer=BERNOULLI, consistency=1.0)}
TABLE = table(11, "walks between shoes of 128 pixels by masks", SHOES, METHODS, "bernoulli", 128)
