"""The one threshold and the trust limits of the card, fitted on validation data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from wsol_deploy.card import Threshold, Trust
from wsol_deploy.datasets.base import Sample
from wsol_deploy.evaluation.measure import truth_of
from wsol_deploy.evaluation.pixels import THRESHOLDS, check_scores, dice_curves, score_histogram
from wsol_deploy.runtime.prediction import Prediction
from wsol_deploy.runtime.trust import entropies as entropies_of

DEFAULT = 0.5
MIN_IMAGES = 8  # fewer say nothing of a tail
WORST = 0.2
TAILS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2)
UNMASKED_TAIL = 0.1
LEVELS = 1000  # of a soft mask, for its contrast


@dataclass(frozen=True, slots=True)
class Calibration:
    """What validation data settles, ready for the card."""

    threshold: Threshold
    trust: Trust


def calibrate(
    predictions: Iterable[tuple[Sample, Prediction]], where: str = "validation data"
) -> Calibration:
    """Fit the threshold and the trust limits in one pass.

    The threshold is the nearest to 0.5, among 0.01, ..., 0.99, of those whose mean of F1+ and F1-
    over images is the best or falls short of it by no more than one standard error of the
    difference (the rule of one standard error, Breiman et al. 1984): on few images the best one is
    chance in part. The trust limits flag at most about a fifth of the images: with
    masks those limits that best single out the worst fifth of the masks, without masks the tenth
    of the highest entropies on X+ and the tenths of the lowest on X- and of the faintest masks.

    Args:
        predictions: validation samples with what the model says of them.
        where: names the data for the card ("GlaS, validation").

    Raises:
        DataError: a broken score map, or a mask of another size than its image.
        ImageError: a truth mask cannot be read.
    """
    curves: list[np.ndarray] = []
    has_mask: list[bool] = []
    entropies: list[tuple[float, float]] = []
    contrasts: list[np.ndarray] = []
    for sample, prediction in predictions:
        check_scores(prediction.probability, sample.name)
        truth = truth_of(sample, prediction.probability.shape)
        has_mask.append(truth is not None)
        entropies.append(_entropies(prediction))
        contrasts.append(_contrasts(prediction.probability))
        if truth is not None:
            histogram = score_histogram(prediction.probability, truth)
            curves.append(dice_curves(histogram).mean(axis=0).astype(np.float32))
    threshold, quality = _fit_threshold(curves, where)
    place = int(np.abs(THRESHOLDS - threshold.value).argmin())
    known = np.array([(*pair, at[place]) for pair, at in zip(entropies, contrasts, strict=True)])
    known = known.astype(np.float64).reshape(-1, 3)
    if quality is not None:
        known = known[np.array(has_mask)]
    return Calibration(threshold, _fit_trust(known, quality, where))


def _entropies(prediction: Prediction) -> tuple[float, float]:
    """On X+ and on X-; NaN where not had."""
    nan = float("nan")
    if prediction.probs is None:
        return nan, nan
    inside, outside = entropies_of(prediction.probs, prediction.background_probs, prediction.task)
    return inside, nan if outside is None else outside


def _contrasts(probability: np.ndarray) -> np.ndarray:
    """`runtime.trust.contrast` at each of THRESHOLDS, from a histogram of LEVELS bins."""
    levels = np.minimum((probability.ravel() * LEVELS).astype(np.int64), LEVELS - 1)
    counts = np.bincount(levels, minlength=LEVELS)
    sums = np.bincount(levels, weights=probability.ravel(), minlength=LEVELS)
    below = np.round(THRESHOLDS * LEVELS).astype(int)
    outside, inside = _split_means(counts, sums, below)
    return np.where(np.isnan(outside) | np.isnan(inside), 1.0, inside - outside)


def _split_means(
    counts: np.ndarray, sums: np.ndarray, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means of what lies in the first so many bins and of the rest; NaN of nothing."""
    number, total = (np.concatenate([[0], np.cumsum(one)]) for one in (counts, sums))
    with np.errstate(invalid="ignore"):
        low = total[below] / number[below]
        high = (total[-1] - total[below]) / (number[-1] - number[below])
    return low, high


def _fit_threshold(curves: Sequence[np.ndarray], where: str) -> tuple[Threshold, np.ndarray | None]:
    """The threshold, and the quality of each masked image at it; None without masks."""
    if not curves:
        chosen = f"the paper's 0.5: {where} has no truth masks to fit it on"
        return Threshold(value=DEFAULT, chosen_on=chosen), None
    table = np.stack(curves)
    mean = table.mean(axis=0, dtype=np.float64)
    inner = np.arange(1, 100)
    best = inner[mean[inner].argmax()]
    short = table[:, [best]] - table
    error = short.std(axis=0, ddof=min(1, len(curves) - 1)) / np.sqrt(len(curves))
    good = inner[mean[best] - mean[inner] <= error[inner] + 1e-9]
    place = int(good[np.abs(good - 50).argmin()])
    chosen = f"mean of F1+ and F1- on {where}, {len(curves)} images with masks"
    value = round(float(THRESHOLDS[place]), 2)
    return Threshold(value=value, chosen_on=chosen), table[:, place]


def _fit_trust(signs: np.ndarray, quality: np.ndarray | None, where: str) -> Trust:
    """Limits from n x 3 signs (entropy on X+, on X-, contrast; NaN where not had) and the masks'
    quality."""
    had = ~np.isnan(signs).any(axis=0) & bool(len(signs))
    if len(signs) < MIN_IMAGES or not had[:2].any():
        few = f"{len(signs)} images of {where} are too few to calibrate on"
        return Trust(calibrated_on=f"default: {few if had[:2].any() else 'no posteriors'}")
    tails = [TAILS if one else (0.0,) for one in had]
    if quality is None:
        chosen = tuple(UNMASKED_TAIL if one else 0.0 for one in had)
        how = f"the {UNMASKED_TAIL:.0%} tails of {where}, {len(signs)} images without masks"
        return _trust(signs, chosen, how)
    bad = quality <= np.quantile(quality, WORST)
    chosen = max(product(*tails), key=lambda tails: (_merit(signs, tails, bad), -sum(tails)))
    caught = int(_flags(signs, _trust(signs, chosen))[bad].sum())
    how = f"the masks of {where}: flags {caught} of the worst {int(bad.sum())} of {len(bad)} images"
    return _trust(signs, chosen, how)


def _merit(signs: np.ndarray, tails: Sequence[float], bad: np.ndarray) -> float:
    """Share of the bad images flagged less share of the others; -1 for none or too many flags."""
    flagged = _flags(signs, _trust(signs, tails))
    if not flagged.any() or flagged.sum() > np.ceil(WORST * len(flagged)) or bad.all():
        return -1.0
    return float(flagged[bad].mean() - flagged[~bad].mean())


def _trust(signs: np.ndarray, tails: Sequence[float], how: str = "") -> Trust:
    """Limits that leave these shares of the images above on X+, below on X-, below in contrast."""
    foreground, background, contrast = signs.T
    high = np.quantile(foreground, 1 - tails[0], method="lower") if tails[0] else 1.0
    low = np.quantile(background, tails[1], method="higher") if tails[1] else 0.0
    faint = np.quantile(contrast, tails[2], method="higher") if tails[2] else 0.0
    return Trust(
        foreground_entropy_max=float(high),
        background_entropy_min=float(low),
        mask_contrast_min=float(np.clip(faint, 0.0, 1.0)),
        calibrated_on=how,
    )


def _flags(signs: np.ndarray, trust: Trust) -> np.ndarray:
    return (
        (signs[:, 0] > trust.foreground_entropy_max)
        | (signs[:, 1] < trust.background_entropy_min)
        | (signs[:, 2] < trust.mask_contrast_min)
    )
