"""AMR, figure 8: walks between shoes by masks, by AE+GAN and AMR with Bernoulli mixes."""

from latentmix.experiments.amr.walks import BERNOULLI, SHOES, system, table

METHODS = {"AE+GAN": system("ae_gan"), "AMR Bern 2": system("amr", mixer=BERNOULLI, consistency=50.0)}
TABLE = table(8, "walks between shoes by masks", SHOES, METHODS, "bernoulli")
