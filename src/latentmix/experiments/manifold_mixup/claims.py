"""The claims of "Manifold Mixup" (first version), in our words."""

from latentmix.experiments.claims import Claim, Noted, Verdict, log

SMALL = "2026-11-21: Manifold Mixup, supervised, CIFAR-10 in the small (tables 1, 3, 5, 7, figure 1)"
LONG = "2026-11-26: sixty epochs of a narrow network, CIFAR-10: where does mixing take the lead?"
IN_SMALL = "manifold-small"
SIXTY = "a narrow PreActResNet-18, 10,000 images, 60 epochs, 3 seeds"
NINE = "a narrow PreActResNet-18, 10,000 images, 9 epochs, 3 seeds"
EIGHT = "2026-11-21: mixing true factors (table 8 of Manifold Mixup)"
STEPS = "150 of 1,000 steps, 3 seeds"
GANS = "2026-11-25: mixup in GAN training (table 6 of Manifold Mixup), a first look"
TWO = "2026-11-21: a bottleneck of two units (figures 5 and 8 of Manifold Mixup)"
FOUR = "4 of 30 epochs, 3 seeds"
AS_CLAIMED = "as claimed, but without deviations"
ROTATED = f"CIFAR-10, {NINE}: rotated 53.9, 56.2 and 58.1 %, the other way round, but without deviations"
BOTTLENECKS: tuple[tuple[int, str, str, str, Verdict], ...] = (
    (5, "0-4", "the digits 0 to 4", "16.3 ± 0.9 | **26.0 ± 1.3** |", "holds"),
    (8, "all", "all digits", "12.9 ± 0.9 | **14.6 ± 0.1** |", "open"),
)
NETS = ("PreActResNet18", "PreActResNet152")

CLAIMS = (
    Claim(
        "Manifold Mixup, section 2",
        "With alpha = 2, about 5 % of the mixes have a weight within 0.05 of 0 or 1.",
        noted=Noted(
            "tests/experiments/test_claims.py",
            "test_share_of_nearly_plain_samples",
            "== pytest.approx(0.0145)",
            "does not hold",
            "computed: 2 (3 x 0.05^2 - 2 x 0.05^3) = 1.45 %",
        ),
    ),
    Claim(
        "Manifold Mixup, abstract",
        "It takes no significant additional computation.",
        noted=Noted(
            "benchmarks/RESULTS.md",
            "Manifold Mixup",
            "**1.022**",
            "holds",
            "PreActResNet-18, batch 128, one processor: 1.004 and 1.022 times a plain step",
        ),
    ),
    Claim(
        "Manifold Mixup, table 1",
        "CIFAR-10: more accurate than input mixup, which is more accurate than no mixup.",
        "manifold-table1",
        "accuracy",
        tuple(
            pair
            for net in NETS
            for pair in (
                (f"{net}: Manifold Mixup", f"{net}: input mixup"),
                (f"{net}: input mixup", f"{net}: no mixup"),
            )
        ),
        log(LONG, "**The curves do not cross.**", "does not hold", SIXTY, "manifold-curves"),
    ),
    Claim(
        "Manifold Mixup, table 1",
        "CIFAR-10: a lower NLL than input mixup and than no mixup.",
        "manifold-table1",
        "NLL",
        tuple(
            (f"{net}: {row}", f"{net}: Manifold Mixup") for net in NETS for row in ("input mixup", "no mixup")
        ),
        log(LONG, "**The curves do not cross.**", "does not hold", SIXTY, "manifold-curves"),
    ),
    Claim(
        "Manifold Mixup, table 1",
        "CIFAR-10: with PreActResNet-152, mixing at all layers is the most accurate.",
        "manifold-table1",
        "accuracy",
        (("PreActResNet152: Manifold Mixup, all layers", "PreActResNet152: Manifold Mixup"),),
    ),
    Claim(
        "Manifold Mixup, table 2",
        "CIFAR-100: more accurate than no mixup, and than input mixup with PreActResNet-34.",
        "manifold-table2",
        "accuracy",
        (
            ("PreActResNet18: Manifold Mixup", "PreActResNet18: no mixup"),
            ("PreActResNet34: Manifold Mixup", "PreActResNet34: input mixup"),
        ),
    ),
    Claim(
        "Manifold Mixup, tables 3 and 7",
        "CIFAR-100: more accurate on deformed test images than input mixup and than no mixup.",
        "manifold-table3",
        "rotation 20",
        (("Manifold Mixup", "input mixup"), ("Manifold Mixup", "no mixup")),
        log(
            SMALL, "| Manifold Mixup | 56.0 ± 1.5 | 1.245 ± 0.034 | 53.9 / 38.8 |", "open", ROTATED, IN_SMALL
        ),
    ),
    Claim(
        "Manifold Mixup, figure 6",
        "CIFAR-10: it takes no more epochs to reach a good NLL.",
        "manifold-figure6",
    ),
    Claim(
        "Manifold Mixup, section 4.1",
        "CIFAR-10: with gradients blocked at the mixed layer, accuracy is between no mixup and input mixup.",
        "manifold-sections",
    ),
    Claim(
        "Manifold Mixup, section 4.2",
        "CIFAR-10 with 4,000 labels alone: an error of 13.6 %, far below 20.3 % without mixing.",
        "manifold-sections",
    ),
    Claim(
        "Manifold Mixup, table 4",
        "CIFAR-10 and SVHN: as a semi-supervised learner it has a lower error than labels alone.",
        "manifold-table4",
        "error, last epoch",
        (("*: supervised only", "*: Manifold Mixup"),),
        log(
            "2026-11-21: Manifold Mixup with 100 labels, MNIST",
            "consistency on mixed unlabelled images halves the error, as table 4 says",
            "holds",
            "MNIST, 100 labels, 2 epochs, 3 seeds",
        ),
    ),
    Claim(
        "Manifold Mixup, table 4",
        "CIFAR-10 and SVHN: as a semi-supervised learner it has a lower error than input mixup.",
        "manifold-table4",
        "error, last epoch",
        (("*: input mixup", "*: Manifold Mixup"),),
        log(
            "2026-11-21: Manifold Mixup with 100 labels, MNIST",
            "between the two nothing is settled",
            "open",
            "MNIST, 100 labels, 2 epochs, 3 seeds",
        ),
    ),
    Claim(
        "Manifold Mixup, table 5",
        "CIFAR-10: more accurate under FGSM than input mixup and than no mixup.",
        "manifold-table5",
        "FGSM 0.03",
        (
            ("CIFAR-10: Manifold Mixup", "CIFAR-10: input mixup"),
            ("CIFAR-10: input mixup", "CIFAR-10: no mixup"),
        ),
        log(SMALL, "FGSM (section 4): holds in direction", "open", NINE, IN_SMALL),
    ),
    Claim(
        "Manifold Mixup, table 5",
        "CIFAR-100: more accurate under FGSM than input mixup.",
        "manifold-table5",
        "FGSM 0.03",
        (("CIFAR-100: Manifold Mixup", "CIFAR-100: input mixup"),),
    ),
    Claim(
        "Manifold Mixup, appendix D",
        "200 unbounded steps of PGD leave an accuracy of 1 % at most: gradients are not masked.",
        "manifold-appendix-d",
    ),
    Claim(
        "Manifold Mixup, table 6",
        "GANs with a gradient penalty are better with mixes of real and fake images (FR).",
        "manifold-table6",
        "Frechet, test images",
        (("*: GAN-GP", "*: GAN-GP, FR"),),
        log(GANS, "Conclusion: undecided.", "open", "1,000 steps, 16 pixels, 1 seed"),
    ),
    Claim(
        "Manifold Mixup, table 6",
        "GANs with spectral norm are better with FR, and with the hinge loss worse.",
        "manifold-table6",
        "Frechet, test images",
        (("*: SN-GAN", "*: SN-GAN, FR"), ("*: SN-GAN with hinge, FR", "*: SN-GAN with hinge")),
        log(GANS, "Conclusion: undecided.", "open", "1,000 steps, 16 pixels, 1 seed"),
    ),
    Claim(
        "Manifold Mixup, table 6",
        "Mixes of fakes beside FR (FR+FF) are better than FR alone.",
        "manifold-table6",
        "Frechet, test images",
        (("*: GAN-GP, FR", "*: GAN-GP, FR+FF"), ("*: SN-GAN, FR", "*: SN-GAN, FR+FF")),
        log(GANS, "adding mixes of fakes (FF) is worse than FR alone in all six", "open", "1 seed"),
    ),
    Claim(
        "Manifold Mixup, section 4.4",
        "A critic that must tell the share of real and fake in a mix (equation 1) gives worse samples.",
        "manifold-table6",
        "Frechet, test images",
        (("CIFAR-10: SN-GAN, equation 1", "CIFAR-10: SN-GAN, FR"),),
    ),
    Claim(
        "Manifold Mixup, figure 1",
        "Between test images mixed at hidden layers, its NLL is lower than that of input mixup and of none.",
        "manifold-small",
        "middle, layer1",
        (("input mixup", "Manifold Mixup"), ("no mixup", "Manifold Mixup")),
        log(
            SMALL,
            "Manifold Mixup is the lower of the two at the hidden layers",
            "open",
            f"{NINE}; {AS_CLAIMED}",
        ),
    ),
    Claim(
        "Manifold Mixup, figures 3 and 4",
        "Decoded mixes of hidden states blend meaning, and are no blend of pixels.",
        "manifold-figure4",
        "apart from a blend",
        (
            ("decoder, Manifold Mixup", "decoder, no mixup"),
            ("decoder, Manifold Mixup", "decoder, input mixup"),
        ),
        log(
            "2026-11-21: decoding hidden states of mixes (figures 3 and 4 of Manifold Mixup)",
            "It also reconstructs worst, so part of the distance is that.",
            "open",
            "MNIST, 240 steps, 1 seed",
        ),
    ),
    *(
        Claim(
            f"Manifold Mixup, figure {number}",
            f"In a bottleneck of two units, {digits} lie tighter and wider apart than by input mixup.",
            "manifold-figure5",
            "spread ratio",
            tuple((f"{group}: Manifold Mixup", f"{group}: {row}") for row in ("input mixup", "no mixup")),
            log(TWO, words, verdict, FOUR),
        )
        for number, group, digits, words, verdict in BOTTLENECKS
    ),
    Claim(
        "Manifold Mixup, section 5, table 8",
        "Mixing the true factors is far more accurate on new angles than mixing pixels or nothing.",
        "manifold-table8",
        "accuracy",
        (("*: mixed factors", "*: mixed pixels"), ("*: mixed factors", "*: no mixup")),
        log(EIGHT, "the order of the table holds everywhere, by 24 to 84 points", "holds", STEPS),
    ),
    Claim(
        "Manifold Mixup, appendix E, table 8",
        "Mixing pixels improves the likelihood on new angles.",
        "manifold-table8",
        "NLL",
        (("*: no mixup", "*: mixed pixels"),),
        log(
            EIGHT,
            "| A | 2.6 ± 3.6 / 44.6 (1.6 / 8.8) | 0.0 ± 0.0 / 3.6 (0.0 / 6.1) |",
            "open",
            f"{STEPS}; {AS_CLAIMED}",
        ),
    ),
)
