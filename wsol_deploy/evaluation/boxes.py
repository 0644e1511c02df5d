"""Box metrics: MaxBoxAcc, MaxBoxAccV2, Top-1 and Top-5 localisation.

Boxes are (x0, y0, x1, y1) with inclusive pixels. Score maps and truth boxes are brought to
224 x 224 first; a map gives boxes through the contours of what lies above a threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wsol_deploy import images
from wsol_deploy.errors import DataError

SIDE = 224
THRESHOLDS = np.arange(0, 1, 0.01)
IOU_LEVELS = (0.3, 0.5, 0.7)
MIN_COMPONENT = 0.001  # of the image's area: smaller specks of a truth mask give no box
Box = tuple[float, float, float, float]


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes with inclusive pixels.

    Args:
        boxes: n x 4, x0 <= x1 and y0 <= y1.
        others: m x 4.

    Returns:
        float64, n x m in [0, 1]; a box of one pixel against itself gives 1.

    Raises:
        DataError: a box whose corners are swapped.
    """
    a, b = _boxes(boxes)[:, None], _boxes(others)[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    overlap = np.maximum(high - low + 1, 0).prod(axis=-1)
    return overlap / (_area(a) + _area(b) - overlap)


def _boxes(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    swapped = (boxes[:, :2] > boxes[:, 2:]).any(axis=1)
    if swapped.any():
        raise DataError(f"box {boxes[swapped][0].tolist()}: must be x0, y0, x1, y1 in this order")
    return boxes


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2] + 1).prod(axis=-1)


def resize_boxes(boxes: Sequence[Box], height: int, width: int, side: int = SIDE) -> np.ndarray:
    """Bring boxes of an H x W image to side x side: int64, n x 4, fractions cut off."""
    scale = np.array([side / width, side / height] * 2)
    return np.trunc(np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * scale).astype(np.int64)


def boxes_of_mask(mask: np.ndarray) -> tuple[Box, ...]:
    """The boxes of a truth mask's connected regions, for data with masks and no boxes.

    Args:
        mask: bool, H x W.

    Returns:
        A box for each 8-connected region of at least 0.1 % of the image; the largest region's
        if all are smaller; none for an empty mask.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    regions = sorted(stats[1:].tolist(), key=lambda region: -region[cv2.CC_STAT_AREA])
    large = [r for r in regions if r[cv2.CC_STAT_AREA] >= MIN_COMPONENT * mask.size]
    return tuple(_clipped(*region[:4], *mask.shape) for region in large or regions[:1])


def _clipped(x: int, y: int, w: int, h: int, height: int, width: int) -> Box:
    return x, y, min(x + w, width - 1), min(y + h, height - 1)


@dataclass(frozen=True, slots=True)
class ThresholdedBoxes:
    """The boxes a score map gives at one threshold: `largest` by contour area, and `every`."""

    largest: Box
    every: tuple[Box, ...]


def boxes_of_scores(scores: np.ndarray, thresholds: Iterable[float]) -> list[ThresholdedBoxes]:
    """The boxes of a score map at each threshold.

    The map times 255 is cut to uint8; above means strictly greater than int(threshold x max).
    Contours are those of RETR_TREE; where there is none the box is (0, 0, 0, 0).

    Args:
        scores: float, H x W in [0, 1].
        thresholds: in [0, 1).
    """
    levels = (scores * 255).astype(np.uint8)
    top = int(levels.max())
    counts = np.bincount(levels.ravel(), minlength=256)
    above = levels.size - np.cumsum(counts)
    found: dict[int, ThresholdedBoxes] = {}
    results = []
    for threshold in thresholds:
        level = int(threshold * top)
        same_pixels = int(above[level])
        if same_pixels not in found:
            found[same_pixels] = _boxes_above(levels, level)
        results.append(found[same_pixels])
    return results


def _boxes_above(levels: np.ndarray, level: int) -> ThresholdedBoxes:
    binary = cv2.threshold(levels, level, 255, cv2.THRESH_BINARY)[1]
    contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return ThresholdedBoxes((0, 0, 0, 0), ((0, 0, 0, 0),))
    areas = [cv2.contourArea(contour) for contour in contours]
    boxes = [_clipped(*cv2.boundingRect(contour), *levels.shape) for contour in contours]
    return ThresholdedBoxes(boxes[int(np.argmax(areas))], tuple(boxes))


@dataclass(frozen=True, slots=True)
class BoxOverlap:
    """How well the boxes of one image overlap its truth boxes.

    Attributes:
        largest: float64, 100: best IoU of the largest contour's box at `THRESHOLDS`.
        every: float64, 100: best IoU of any contour's box.
        at_threshold: IoU of the largest contour's box at the model's own threshold.
    """

    largest: np.ndarray
    every: np.ndarray
    at_threshold: float

    @classmethod
    def of(cls, scores: np.ndarray, truth: Sequence[Box], threshold: float) -> BoxOverlap:
        """Measure a score map (float, H x W in [0, 1]) against boxes in its pixels."""
        small = images.resize(np.asarray(scores, dtype=np.float32), SIDE, SIDE)
        targets = resize_boxes(truth, *scores.shape)
        found = boxes_of_scores(small, [*THRESHOLDS, threshold])
        distinct = {id(boxes): boxes for boxes in found}
        best = {key: _best_overlaps(boxes, targets) for key, boxes in distinct.items()}
        largest, every = np.array([best[id(boxes)] for boxes in found]).T
        return cls(largest[:-1], every[:-1], float(largest[-1]))

    @property
    def hits(self) -> np.ndarray:
        """float64, 4 x 100 of 0 and 1: largest box at IoU 0.5; any box at 0.3, 0.5, 0.7."""
        rows = [self.largest >= 0.5, *(self.every >= level for level in IOU_LEVELS)]
        return np.array(rows, dtype=np.float64)


def _best_overlaps(boxes: ThresholdedBoxes, truth: np.ndarray) -> tuple[float, float]:
    overlaps = box_iou(np.array([boxes.largest, *boxes.every]), truth).max(axis=1)
    return float(overlaps[0]), float(overlaps[1:].max())


def max_box_acc(hits: np.ndarray, images: np.ndarray) -> np.ndarray:
    """MaxBoxAcc: share of images whose largest contour's box has IoU 0.5, at the best threshold.

    Args:
        hits: ... x 4 x 100, `BoxOverlap.hits` summed over images.
        images: ..., how many.
    """
    return hits[..., 0, :].max(axis=-1) / images


def max_box_acc_v2(hits: np.ndarray, images: np.ndarray) -> np.ndarray:
    """MaxBoxAccV2: mean over IoU 0.3, 0.5, 0.7 of the share at each level's best threshold."""
    return hits[..., 1:, :].max(axis=-1).mean(axis=-1) / images


def localisation(hits: np.ndarray, right: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Top-k localisation: the class among the k likeliest AND the largest box at IoU 0.5.

    Args:
        hits: ... x 4 x 100, as for MaxBoxAcc, whose best threshold is used.
        right: ... x 100, images that are right in both, by threshold.
        images: ..., how many.
    """
    best = hits[..., 0, :].argmax(axis=-1)[..., None]
    return np.take_along_axis(right, best, axis=-1)[..., 0] / images
