"""What soft masks are like, and their odds of foreground changed alike in all places."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import cv2
import numpy as np
import torch
from torch import Tensor

ROUNDING = 0.5 / 255  # of a mask in 8 bits
HALVINGS = 20
SHARPEST = 100.0


def odds_to_cover(masks: Tensor, share: float) -> float:
    """How much to add to the logits of masks until they cover so much in the mean.

    Args:
        masks: any shape, in [0, 1].
        share: their mean then, in (0, 1).

    Returns:
        0 without any masks.
    """
    if not len(masks):
        return 0.0
    logits = masks.clamp(ROUNDING, 1 - ROUNDING).logit()
    bound = 2 * log((1 - ROUNDING) / ROUNDING)
    return _bisect(lambda shift: bool((logits + shift).sigmoid().mean() < share), -bound, bound)


def shifted(masks: Tensor, shift: float) -> Tensor:
    """The same masks, other odds of foreground (a changed prior, Saerens et al. 2002).

    Args:
        masks: n x m x h x w in [0, 1].
        shift: added to the logits.

    Returns:
        n x m x h x w; the order of a mask's places is as it was. A mask that is nowhere above one
        half, of a class that is not shown, is left as it is.
    """
    moved = (masks.clamp(ROUNDING, 1 - ROUNDING).logit() + shift).sigmoid()
    return torch.where(masks.amax(dim=(2, 3), keepdim=True) > 0.5, moved, masks)


def ambiguity(masks: Tensor) -> float:
    """The mean of 4 m (1 - m), 0 of masks of zeros and ones, 1 where all is one half."""
    return float((4 * masks * (1 - masks)).mean()) if len(masks) else 1.0


def sharpening(masks: Tensor, wanted: float) -> float:
    """The factor of the logits that makes masks as ambiguous as wanted, by bisection.

    Taught by soft masks a network draws fainter ones from draw to draw, in the same places
    (temperature scaling, Guo et al. 2017).

    Args:
        masks: any shape, in [0, 1].
        wanted: in [0, 1].

    Returns:
        at least 1, at most SHARPEST; 1 without any masks.
    """
    if not len(masks):
        return 1.0
    logits = masks.clamp(ROUNDING, 1 - ROUNDING).logit()

    def too_little(power: float) -> bool:
        return ambiguity((logits * exp(power)).sigmoid()) > wanted

    return exp(_bisect(too_little, 0.0, log(SHARPEST)))


def objects(mask: np.ndarray) -> float:
    """The effective number of regions above one half, the inverse of Simpson's index.

    Args:
        mask: h x w in [0, 1].

    Returns:
        0 without any, n of n regions as large as each other, hardly more than 1 of a large one
        among crumbs.
    """
    regions = cv2.connectedComponentsWithStats((mask > 0.5).astype(np.uint8))[2]
    areas = regions[1:, cv2.CC_STAT_AREA].astype(float)
    return float(areas.sum() ** 2 / max(np.square(areas).sum(), 1.0))


def _bisect(too_little: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if too_little(middle):
            low = middle
        else:
            high = middle
    return low
