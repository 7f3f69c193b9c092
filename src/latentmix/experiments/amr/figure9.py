"""AMR, figure 9: walks between faces by AE+GAN, ACAI and AMR, beneath the blend of the pixels."""

from latentmix.experiments.amr.walks import system, table

METHODS = {
    "AE+GAN": system("ae_gan"),
    "ACAI": system("acai_of_amr"),
    "AMR mixup 2": system("amr", consistency=50.0),
}
TABLE = table(9, "walks between faces", "celeba", METHODS, "mixup")
