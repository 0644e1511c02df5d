"""Measure one image: its result, and the statistics from which every metric follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wsol_deploy.datasets.base import Sample
from wsol_deploy.errors import DataError
from wsol_deploy.evaluation.baselines import BASELINES
from wsol_deploy.evaluation.boxes import Box, BoxOverlap, boxes_of_mask
from wsol_deploy.evaluation.classification import rank_of
from wsol_deploy.evaluation.metrics import box_statistics, label_statistics, pixel_statistics
from wsol_deploy.evaluation.pixels import Counts, check_scores, dice_curves, score_histogram
from wsol_deploy.evaluation.results import ImageResult
from wsol_deploy.runtime.prediction import Prediction
from wsol_deploy.runtime.trust import entropy


@dataclass(slots=True)
class Measurement:
    """One image.

    Attributes:
        result: its row of the per-image table.
        model: its statistics (see `metrics`).
        constants: the same of the constant masks, by the names of `BASELINES`.
        derived_boxes: whether its boxes are those of its mask's regions.
    """

    result: ImageResult
    model: dict[str, np.ndarray | float] = field(default_factory=dict)
    constants: dict[str, dict[str, np.ndarray | float]] = field(
        default_factory=lambda: {name: {} for name in BASELINES}
    )
    derived_boxes: bool = False


def measure(sample: Sample, prediction: Prediction, label: str, threshold: float) -> Measurement:
    """Measure a prediction against whatever truth its sample has.

    Raises:
        DataError: a broken score map, or a truth mask of another size than the image.
        ImageError: the truth mask cannot be read.
    """
    scores = prediction.probability
    check_scores(scores, sample.name)
    mask = scores > threshold
    result = ImageResult(name=sample.name, label=label, foreground=float(mask.mean()))
    measurement = Measurement(_classified(result, prediction))
    rank = measurement.result.rank
    if rank is not None:
        measurement.model |= label_statistics(rank)
    truth = truth_of(sample, scores.shape)
    if truth is not None:
        _measure_pixels(measurement, scores, mask, truth)
    boxes = sample.boxes or (() if truth is None else boxes_of_mask(truth))
    if boxes:
        measurement.derived_boxes = not sample.boxes
        _measure_boxes(measurement, scores, boxes, threshold, len(prediction.classes))
    return measurement


def truth_of(sample: Sample, shape: Sequence[int]) -> np.ndarray | None:
    """The sample's truth mask, bool, H x W, or None if it has none.

    Raises:
        DataError: it is not of the image's (height, width), `shape`.
        ImageError: it cannot be read.
    """
    if sample.mask is None:
        return None
    truth = sample.read_mask()
    if truth.shape != tuple(shape):
        raise DataError(
            f"{sample.name}: its mask {sample.mask} is {truth.shape[1]} x {truth.shape[0]}, the "
            f"image {shape[1]} x {shape[0]} pixels; a mask needs its image's size"
        )
    return truth


def _classified(result: ImageResult, prediction: Prediction) -> ImageResult:
    probs = prediction.probs if prediction.probs is not None else prediction.localizer_probs
    if probs is None:
        return result
    place = prediction.classes.index(result.label)
    background = prediction.background_probs
    return replace(
        result,
        predicted=prediction.label,
        label_probability=float(probs[place]),
        rank=rank_of(probs, place),
        foreground_entropy=entropy(probs),
        background_entropy=None if background is None else entropy(background),
        flagged=None if prediction.trust is None else prediction.trust.review is not None,
    )


def _measure_pixels(
    measurement: Measurement, scores: np.ndarray, mask: np.ndarray, truth: np.ndarray
) -> None:
    counts, histogram = Counts.of(mask, truth), score_histogram(scores, truth)
    measurement.model |= pixel_statistics(counts, histogram)
    measurement.model["curves"] = dice_curves(histogram)
    for name, constant in BASELINES.items():
        other = Counts.of(constant(*truth.shape), truth)
        measurement.constants[name] |= pixel_statistics(other, other.histogram)
    measurement.result = replace(
        measurement.result,
        f1_plus=counts.f1_plus,
        f1_minus=counts.f1_minus,
        iou=counts.iou,
        truth_foreground=float(truth.mean()),
    )


def _measure_boxes(
    measurement: Measurement,
    scores: np.ndarray,
    boxes: Sequence[Box],
    threshold: float,
    classes: int,
) -> None:
    overlap = BoxOverlap.of(scores, boxes, threshold)
    measurement.model |= box_statistics(overlap, measurement.result.rank, classes)
    for name, constant in BASELINES.items():
        other = BoxOverlap.of(constant(*scores.shape).astype(np.float32), boxes, threshold)
        measurement.constants[name] |= box_statistics(other)
        measurement.constants[name][f"hits {measurement.result.label}"] = other.hits[0]
    measurement.result = replace(measurement.result, box_iou=overlap.at_threshold)
