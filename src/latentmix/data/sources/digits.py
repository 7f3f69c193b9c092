"""The built-in data set: handwritten digits that come with scikit-learn and need no download."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from PIL import Image

from latentmix.data.split import Columns, Decoded


@dataclass(frozen=True)
class Digits:
    """1,797 real handwritten digits of 8x8 pixels, enlarged by bicubic interpolation.

    Grey levels v = 0..16 become round(255 v / 16). Strokes reach the edge, so a margin of one pixel is added
    on every side before the images are enlarged.

    References:
        Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI, 1998 (the test part).
    """

    def read(self, image_size: int) -> Decoded:
        from sklearn.datasets import load_digits

        digits = load_digits()
        small = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        small = np.pad(small, ((0, 0), (1, 1), (1, 1)))
        images = np.empty((len(small), 1, image_size, image_size), np.uint8)
        for i, image in enumerate(small):
            enlarged = Image.fromarray(image).resize((image_size, image_size), Image.Resampling.BICUBIC)
            images[i, 0] = np.asarray(enlarged)
        labels = digits.target.astype(np.int64)
        return Decoded({"train": Columns(images, labels)}, tuple(str(name) for name in digits.target_names))

    def key(self) -> str:
        return f"scikit-learn {version('scikit-learn')}"
