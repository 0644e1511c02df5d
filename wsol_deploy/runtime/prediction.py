"""What a model says of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Prediction:
    """The result for one image, at the image's original size.

    Attributes:
        probability: float32, H x W in [0, 1]: R+ of Eq. 11, the soft mask.
        threshold: the threshold used for `mask`.
        classes: names, in the order of every probability vector.
        probs: float32, c: classifier's posterior on X+, or None if not asked for or not had.
        localizer_probs: float32, c: localizer's posterior (Eq. 8), or None.
        background_probs: float32, c: classifier's posterior on X-, or None.
        class_maps: float32, c x h' x w': A_i of Eq. 10, or None.
    """

    probability: np.ndarray
    threshold: float
    classes: tuple[str, ...]
    probs: np.ndarray | None = None
    localizer_probs: np.ndarray | None = None
    background_probs: np.ndarray | None = None
    class_maps: np.ndarray | None = None

    @property
    def mask(self) -> np.ndarray:
        """bool, H x W: True where `probability` is above the threshold."""
        return self.probability > self.threshold

    @property
    def label(self) -> str | None:
        """The class of the highest posterior: classifier's, else localizer's, else None."""
        probs = self.probs if self.probs is not None else self.localizer_probs
        return None if probs is None else self.classes[int(probs.argmax())]

    @property
    def foreground_fraction(self) -> float:
        """Share of foreground pixels, in [0, 1]."""
        return float(self.mask.mean())
