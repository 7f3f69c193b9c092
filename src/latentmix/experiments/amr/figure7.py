"""AMR, figure 7: walks between shoes by AE+GAN, ACAI and AMR, beneath the blend of the pixels."""

from latentmix.experiments.amr.walks import SHOES, system, table

METHODS = {
    "AE+GAN": system("ae_gan"),
    "ACAI": system("acai_of_amr"),
    "AMR mixup 2": system("amr", consistency=50.0),
}
TABLE = table(7, "walks between shoes", SHOES, METHODS, "mixup")
