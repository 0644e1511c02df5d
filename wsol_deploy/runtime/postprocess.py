"""From soft mask to mask: the threshold, and what a user may ask for after it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wsol_deploy.runtime.geometry import CONNECTIVITY

TOUCHING = 8  # background that touches only at a corner is one background


@dataclass(frozen=True, slots=True)
class PostProcess:
    """Optional steps, all off by default.

    Attributes:
        smooth: sigma in pixels of a Gaussian over the soft mask before the threshold; 0 for none.
        fill_holes: background that does not reach the border becomes foreground.
        min_area: regions of fewer pixels are dropped; 0 for none.
    """

    smooth: float = 0.0
    fill_holes: bool = False
    min_area: int = 0

    def __call__(self, probability: np.ndarray, threshold: float) -> np.ndarray:
        """bool, H x W from float32, H x W: above the threshold, then the steps in their order."""
        if self.smooth > 0:
            probability = cv2.GaussianBlur(
                probability, (0, 0), self.smooth, borderType=cv2.BORDER_REPLICATE
            )
        mask = probability > threshold
        if self.fill_holes:
            mask = _fill(mask)
        return _drop_small(mask, self.min_area) if self.min_area > 1 else mask


NO_POST = PostProcess()


def _fill(mask: np.ndarray) -> np.ndarray:
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(outside, connectivity=TOUCHING)
    return (labels != labels[0, 0])[1:-1, 1:-1]


def _drop_small(mask: np.ndarray, min_area: int) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=CONNECTIVITY
    )
    keep = stats[:, cv2.CC_STAT_AREA] >= min_area
    keep[0] = False
    return keep[labels]
