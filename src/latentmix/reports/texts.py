"""The report's explanations of figures and numbers."""

from __future__ import annotations

FIGURES = {
    "samples": (
        "Samples",
        "Images generated from random latent vectors, not chosen. Look for shapes that hold together, and "
        "for images that come again: a generator that has collapsed repeats a few.",
    ),
    "latent_walk": (
        "Walks between latent vectors",
        "Each row walks the great circle between two random latent vectors. Every image should be plausible, "
        "and neighbours should differ a little; jumps between fixed images are a sign of memory.",
    ),
    "traversals": (
        "Traversals",
        "One test image is encoded, and one unit of its code is set to values from -3 to 3 while the others "
        "stay; the units that say most about images stand first, with their divergence in nats. A row that "
        "does not change is a unit that the decoder ignores.",
    ),
    "samples_over_training": (
        "Samples over training",
        "The same latent vectors at validations from the first (top) to the last (bottom). "
        "figures/samples_over_training.gif shows all of them.",
    ),
    "interpolations": (
        "Mixup of codes",
        "Each block walks from the real image at its left to the one at its right. In every row the two "
        "codes are blended in equal steps and decoded; the top row blends the pixels instead. Look at the "
        "middle columns: two shapes laid over each other, as in the pixels, are a failure; one sharp, "
        "plausible shape is what the critic asks for. At the ends stand reconstructions, beside the images.",
    ),
    "bernoulli": (
        "Crossover of codes",
        "The same pairs, mixed by exchange instead of blending: from left to right ever more whole feature "
        "maps come from the right image. A code of few maps has few distinct steps. Look for features that "
        "change one at a time.",
    ),
    "triangle": (
        "Mixes of three",
        "Every cell is decoded from a mix of three codes, each weighing more the nearer its corner; outside "
        "the corners stand the real images. Look for smooth change in all directions, and for shapes that "
        "hold together at the centre.",
    ),
    "reconstructions": (
        "Reconstructions",
        "Real test images and what comes back from their codes. What a row loses here, its mixes lose too.",
    ),
    "learning_curves": (
        "Learning curves",
        "On validation images what is measured there, such as reconstruction error and probe accuracy; the "
        "other terms on training batches. A critic whose loss goes to zero has won and teaches nothing more; "
        "terms that neither vanish nor run away are a healthy game.",
    ),
}
HONESTY = {
    "density": "how many balls of real images a mix lies in, about 1 for real ones",
    "realistic": "the share that lies in any",
    "ghosting": "1 for a double exposure, the blend of its parents",
    "collapse": "1 for a copy of one parent",
    "confidence": "how sure a classifier is of some class",
    "parent_classes": "how sure it is of those of the parents",
    "critic": "the probability of being real that the method's own adversary gives",
    "memory": "distance to the nearest training image, over that of test images; well below 1 is remembered",
}
MEANINGS = {
    "training": "What the method measured of validation and test images while it trained, in its best and "
    "in its last epoch. A probe is a linear classifier of codes that is trained along without influence.",
}
