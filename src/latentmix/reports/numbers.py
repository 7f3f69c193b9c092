"""What each number of a score is: its unit, which direction is better, and its meaning in one sentence."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

SHARE = "share"  # kept as a number from 0 to 1, shown in percent


class Number(NamedTuple):
    """What a number is.

    Arguments:
        unit: "share" for numbers that are shown in percent, "nats", "dB" and the like, "" for plain numbers.
        better: "higher", "lower", or "" where neither is.
        meaning: One clause, without a full stop.
    """

    unit: str = ""
    better: str = ""
    meaning: str = ""

    @property
    def sentence(self) -> str:
        """The meaning, and which direction is better."""
        return "; ".join(filter(None, (self.meaning, f"{self.better} is better" if self.better else "")))


# PATTERN | unit | better side, and below it the meaning. The first pattern that fits "METRIC NAME" counts.
TEXT = r"""
\S+ .*(_low|_high)$ | - | -
    end of the 95 % interval
\S+ .*_deviation$ | - | -
    standard deviation of the number before it
honesty critic_real$ | share | -
    probability of being real that the method's own adversary gives to real images
\S+ .*_real$ | - | -
    the same number of real images in the place of mixes, for scale
honesty (realistic|confidence|parent_classes|critic|ghosting|collapse)_pixels$ | share | -
    the same number of blends of pixels, for scale
\S+ .*_pixels$ | - | -
    the same number of blends of pixels, for scale
training .*probe_accuracy$ | share | higher
    a linear classifier trained along with the method; after few epochs it lags behind the offline probe
probe online_ | share | higher
    the linear classifier that was trained along with the method
probe offline_accuracy$ | share | higher
    test images that a linear classifier of the frozen codes classifies correctly
\S+ .*cluster_accuracy | share | higher
    test images whose cluster has their class
\S+ knn_ | share | higher
    images whose nearest training codes have their class
few_labels  | share | higher
    accuracy of a linear classifier of that many labelled codes
disentanglement .*(factor_vae|beta_vae).*accuracy | share | higher
    factors that are told from which unit of the code stays constant
\S+ .*accuracy | share | higher
    images that are classified correctly
(robustness|attribute_mixes|on_spiral) (?!mix_distance|inconsistency) | share | higher
    images, or mixes, that are as they should be
composition (?!density|judge) | share | higher
    mixes that reach the unseen combination
\S+ (test_|valid_|last_)*reconstruction$ | - | lower
    the method's own reconstruction loss; losses of unlike kinds cannot be compared
\S+ (test_|valid_|last_)*objective$ | - | lower
    the method's own objective
\S+ mse$ | - | lower
    mean square error of decoded test images, pixels from -1 to 1
\S+ mse_of_mean$ | - | -
    the error of a decoder that always gives the mean image, for scale
\S+ psnr$ | dB | higher
    peak signal-to-noise ratio of decoded test images
\S+ ssim$ | - | higher
    structural similarity of decoded test images, 1 if equal
\S+ ghosting$ | share | lower
    100 % for a double exposure, the blend of its parents
honesty collapse$ | share | lower
    100 % for a mix that copies one parent
honesty critic$ | share | -
    probability of being real by the method's own adversary
\S+ realistic$ | share | higher
    mixes that lie among real images
\S+ confidence$ | share | higher
    how sure a classifier is of some class of a mix
\S+ parent_classes$ | share | higher
    how sure a classifier is of the parents' classes
\S+ memory$ | - | -
    distance of mixes to training images over that of test images; well below 1 suggests memory
\S+ density$ | - | higher
    balls around real images that a mix lies in, about 1 for real images
\S+ (precision|recall|coverage)$ | share | higher
    overlap with the set of real images
\S+ frechet_(reconstruction|train|test)$ | - | lower
    distance of decoded images to real ones, as sets
\S+ (frechet|kernel) | - | lower
    distance between mixes and real images, as sets
\S+ class_score$ | - | higher
    how sure and how varied the classes of mixes are, from 1 to the number of classes
\S+ distinct$ | - | -
    how far decoded images are from the nearest other one, 1 as far as real ones
\S+ variety(_\w+)?$ | - | -
    how much images vary, 1 as much as real ones; below 0.2 is a collapsed model
\S+ recognised$ | share | higher
    decoded images nearer to their original than to another; 50 % is chance
\S+ (rank|rankme)$ | - | higher
    directions over which the codes spread, by entropy (RankMe)
\S+ (rank_share|rankme_share)$ | share | higher
    the rank as a share of the largest possible
\S+ lidar$ | - | higher
    directions that tell apart images that are not a pair (LiDAR)
\S+ lidar_share$ | share | higher
    LiDAR as a share of the largest possible
\S+ nmi$ | - | higher
    normalised mutual information of clusters and classes
\S+ ari$ | - | higher
    adjusted Rand index of clusters and classes
\S+ spread_ratio$ | - | higher
    variance between classes over variance within them
\S+ (nll\w*|middle_\w+|mean_(?!distance|smoothness)\w+)$ | nats | lower
    cross-entropy of the classifier
\S+ ece\w*$ | share | lower
    gap between confidence and accuracy
blend apart_from_blend$ | - | -
    mean square difference of decoded mixes from blends of the decoded images, 0 if they are the same
\S+ (mean_distance|mean_smoothness\w*|mix_distance|inconsistency|error)$ | - | lower
    error
path (length|peak|asymmetry)$ | - | lower
    how uneven the walk is; an even, straight one has 1, 1, 0
disentanglement .*num_active_dims | - | -
    units of the code that vary
disentanglement .*informativeness | share | higher
    values of factors that are predicted correctly from the code
disentanglement  | - | higher
    0 to 1: units of the code that follow single factors
"""


def _read(text: str) -> list[tuple[re.Pattern[str], Number]]:
    lines = text.strip().split("\n")
    numbers = []
    for head, meaning in zip(lines[::2], lines[1::2]):
        pattern, *words = (word.strip() for word in head.rsplit("|", 2))
        unit, better = ("" if word == "-" else word for word in words)
        numbers.append((re.compile(pattern), Number(unit, better, meaning.strip())))
    return numbers


NUMBERS = _read(TEXT)


@cache
def about(metric: str, name: str) -> Number:
    """Describe a number of a score; an unknown one has no unit, direction or meaning.

    Arguments:
        metric: The metric's key, options included.
    """
    text = f"{metric.partition('.')[0]} {name}"
    return next((number for pattern, number in NUMBERS if pattern.match(text)), Number())


def shown(name: str, value: float | None, metric: str = "") -> str:
    """A number as people read it: ``91.4 %`` for shares, four significant digits and a unit for others."""
    if value is None or value != value:
        return "undefined"
    if about(metric or "-", name).unit == SHARE and -1e-9 <= value <= 1 + 1e-9:
        return percent(value)
    unit = about(metric, name).unit if metric else ""
    text = f"{value:.4g}" if abs(value) >= 1e-6 else "0"
    return f"{text} {unit}" if unit and unit != SHARE else text


def percent(value: float) -> str:
    """A share of 1 as ``91.4 %``: the one way in which shares are printed."""
    return f"{100 * value:.1f} %"
