"""Sums over images, with copies resampled by image, in memory that does not grow with them.

Every metric is a function of sums over images. The Poisson bootstrap gives each image a weight
drawn from Poisson(1) in each copy, which is resampling with replacement for a stream whose
length is not known; the same function of the copies' sums gives the metric's spread.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

CHUNK = 64
LEVEL = 0.95
Statistics = Mapping[str, np.ndarray | float]


class Sums:
    """Sums of named statistics: row 0 is the plain sum, the others are resampled.

    Args:
        copies: how many resampled rows; 0 for none.
        seed: of the resampling.
    """

    def __init__(self, copies: int = 0, seed: int = 0) -> None:
        self._copies = copies
        self._random = np.random.default_rng(seed)
        self._waiting: list[Statistics] = []
        self._totals: dict[str, np.ndarray] = {}

    def add(self, statistics: Statistics) -> None:
        """Add one image's statistics; an image may have only some of the names."""
        self._waiting.append(statistics)
        if len(self._waiting) == CHUNK:
            self._reduce()

    def __contains__(self, name: str) -> bool:
        self._reduce()
        return name in self._totals

    def __getitem__(self, name: str) -> np.ndarray:
        """float64, (1 + copies) x the statistic's shape."""
        self._reduce()
        return self._totals[name]

    def _reduce(self) -> None:
        if not self._waiting:
            return
        weights = self._random.poisson(1.0, (self._copies, len(self._waiting)))
        weights = np.vstack([np.ones((1, len(self._waiting))), weights])
        for name in dict.fromkeys(name for statistics in self._waiting for name in statistics):
            having = [i for i, statistics in enumerate(self._waiting) if name in statistics]
            rows = np.stack([np.asarray(self._waiting[i][name], np.float64) for i in having])
            total = np.tensordot(weights[:, having], rows, axes=1)
            self._totals[name] = self._totals.get(name, 0.0) + total
        self._waiting.clear()


def interval(copies: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """The middle `level` of a metric's resampled values, or None if there are too few."""
    usable = copies[np.isfinite(copies)]
    if len(usable) < 2:
        return None
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
