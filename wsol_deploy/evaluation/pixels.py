"""Pixel metrics: F1+ and F1- (Dice), IoU, and PxAP from a histogram.

Score maps are float, H x W in [0, 1]; truth masks are bool, H x W. Every function that takes
sums works on leading axes too, so that an estimate and its resampled copies share one path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsol_deploy.errors import DataError

BINS = 102
EDGES = np.append(np.arange(0, 1, 0.01), (1.0, 2.0, 3.0))
THRESHOLDS = EDGES[:101]


def _round_up(values: np.ndarray) -> np.ndarray:
    """The smallest float32 not below each value: x >= value holds for the same float32 x."""
    rounded = values.astype(np.float32)
    return np.where(rounded < values, np.nextafter(rounded, np.float32(np.inf)), rounded)


_EDGES32 = _round_up(EDGES)


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels of one image by prediction and truth."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @classmethod
    def of(cls, mask: np.ndarray, truth: np.ndarray) -> Counts:
        """Count two bool masks of one shape."""
        both = int(np.count_nonzero(mask & truth))
        predicted, true = int(np.count_nonzero(mask)), int(np.count_nonzero(truth))
        return cls(both, predicted - both, true - both, truth.size - predicted - true + both)

    @property
    def f1_plus(self) -> float:
        """Dice of the foreground; 1 where neither mask nor truth has any."""
        return float(_dice(self.true_positive, self.false_positive + self.false_negative))

    @property
    def f1_minus(self) -> float:
        """Dice of the background; 1 where neither mask nor truth has any."""
        return float(_dice(self.true_negative, self.false_positive + self.false_negative))

    @property
    def iou(self) -> float:
        """Intersection over union of the foreground; 1 where neither has any."""
        union = self.true_positive + self.false_positive + self.false_negative
        return self.true_positive / union if union else 1.0

    @property
    def histogram(self) -> np.ndarray:
        """`score_histogram` of the mask taken as a score map of 0 and 1."""
        histogram = np.zeros((2, BINS), dtype=np.int64)
        histogram[:, 100] = self.true_positive, self.false_positive
        histogram[:, 0] = self.false_negative, self.true_negative
        return histogram


def _dice(agreed: np.ndarray | int, wrong: np.ndarray | int) -> np.ndarray:
    total = 2 * np.asarray(agreed, dtype=np.float64) + wrong
    return np.divide(2 * np.asarray(agreed), total, out=np.ones_like(total), where=total > 0)


def check_scores(scores: np.ndarray, where: str = "the score map") -> None:
    """Refuse what is no score map.

    Raises:
        DataError: not two-dimensional, NaN in it, or values outside [0, 1].
    """
    if scores.ndim != 2 or not scores.size:
        raise DataError(f"{where}: a score map is H x W, this has shape {scores.shape}")
    low, high = float(scores.min()), float(scores.max())
    if np.isnan(low) or np.isnan(high):
        raise DataError(f"{where}: NaN in the score map; the model is broken, train it again")
    if low < 0 or high > 1:
        raise DataError(f"{where}: scores from {low:.3g} to {high:.3g}; they must lie in [0, 1]")


def score_histogram(
    scores: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None
) -> np.ndarray:
    """How often each score occurs on the object and beside it.

    Args:
        scores: float, H x W in [0, 1]; taken as float32.
        truth: bool, H x W.
        ignored: bool, H x W, pixels left out; or None.

    Returns:
        int64, 2 x 102: pixels of the foreground, of the background, by the bins whose edges are
        0, 0.01, ..., 0.99, 1, 2, 3 (closed on the left).
    """
    scores = np.asarray(scores, dtype=np.float32)
    if ignored is not None:
        scores, truth = scores[~ignored], truth[~ignored]
    index = (scores * np.float32(100)).astype(np.int16).ravel()
    flat = scores.ravel()
    index -= flat < _EDGES32[index]
    index += flat >= _EDGES32[index + 1]
    index += np.int16(BINS) * ~truth.ravel()
    return np.bincount(index, minlength=2 * BINS).reshape(2, BINS)


def precision_recall(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at falling thresholds.

    Args:
        histogram: ... x 2 x 102, summed over images.

    Returns:
        Two of float64, ... x 102, at the thresholds 2, 1, 0.99, ..., 0; precision is 0 where
        nothing is predicted.
    """
    found = np.cumsum(histogram[..., ::-1], axis=-1, dtype=np.float64)
    true, false = found[..., 0, :], found[..., 1, :]
    predicted = true + false
    precision = np.divide(true, predicted, out=np.zeros_like(true), where=predicted > 0)
    total = true[..., -1:]
    recall = np.divide(true, total, out=np.full_like(true, np.nan), where=total > 0)
    return precision, recall


def pxap(histogram: np.ndarray) -> np.ndarray:
    """PxAP: area under the pixel precision-recall curve of the whole data set.

    Args:
        histogram: ... x 2 x 102, summed over images.

    Returns:
        float64, ..., in [0, 1]; NaN for a resampled copy without a foreground pixel.

    Raises:
        DataError: no foreground pixel at all.
    """
    if not np.any(histogram[..., 0, :]):
        raise DataError("no truth mask has a foreground pixel, PxAP is undefined; check the masks")
    precision, recall = precision_recall(histogram)
    return (precision[..., 1:] * np.diff(recall, axis=-1)).sum(axis=-1)


def dice_curves(histogram: np.ndarray) -> np.ndarray:
    """F1+ and F1- of one image at every threshold.

    Args:
        histogram: 2 x 102, of the image.

    Returns:
        float64, 2 x 101: F1+ and F1- where scores of at least 0, 0.01, ..., 1 are foreground.
    """
    above = np.cumsum(histogram[:, ::-1], axis=1)[:, ::-1][:, :101]
    true_positive, false_positive = above
    positives, negatives = histogram.sum(axis=1)
    wrong = false_positive + positives - true_positive
    return np.stack([_dice(true_positive, wrong), _dice(negatives - false_positive, wrong)])
