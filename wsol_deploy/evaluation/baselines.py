"""Constant rows that stand beside every metric: all-ones and centre-box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CENTRE_AREA = 0.5


def all_ones(height: int, width: int) -> np.ndarray:
    """bool, H x W: everything is foreground."""
    return np.ones((height, width), dtype=bool)


def centre_box(height: int, width: int) -> np.ndarray:
    """bool, H x W: a centred box of the image's shape with half its area is foreground."""
    mask = np.zeros((height, width), dtype=bool)
    top, left = (round(side * (1 - CENTRE_AREA**0.5) / 2) for side in (height, width))
    mask[top : height - top, left : width - left] = True
    return mask


BASELINES: dict[str, Callable[[int, int], np.ndarray]] = {
    "all-ones": all_ones,
    "centre-box": centre_box,
}
