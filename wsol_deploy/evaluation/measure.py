"""Measure one image: its result, and the statistics from which every metric follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wsol_deploy.card import SEPARATOR
from wsol_deploy.datasets.base import Sample
from wsol_deploy.errors import DataError
from wsol_deploy.evaluation.baselines import BASELINES
from wsol_deploy.evaluation.boxes import Box, BoxOverlap, boxes_of_mask
from wsol_deploy.evaluation.classification import rank_of
from wsol_deploy.evaluation.metrics import (
    box_statistics,
    class_statistics,
    label_statistics,
    pixel_statistics,
)
from wsol_deploy.evaluation.pixels import Counts, check_scores, dice_curves, score_histogram
from wsol_deploy.evaluation.results import ImageResult
from wsol_deploy.runtime.prediction import Prediction
from wsol_deploy.runtime.trust import entropies

NOTHING = "none"  # found by a multi-label model


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


def measure(
    sample: Sample, prediction: Prediction, labels: Sequence[str], threshold: float
) -> Measurement:
    """Measure a prediction against whatever truth its sample has.

    Args:
        sample: with its truth.
        prediction: at the image's size.
        labels: the names of the sample's classes.
        threshold: of the soft mask.

    Raises:
        DataError: a broken score map, a truth mask of another size than the image, or several
            classes in an image of a model that knows one an image.
        ImageError: the truth mask cannot be read.
    """
    if len(labels) > 1 and prediction.task != "multi-label":
        raise DataError(
            f"{sample.name}: shows {', '.join(labels)}, and the model says one class an image; "
            "train a model on images with several labels (label cat;dog in a CSV file)"
        )
    scores = prediction.probability
    check_scores(scores, sample.name)
    mask = scores > threshold
    label = SEPARATOR.join(labels)
    result = ImageResult(name=sample.name, label=label, foreground=float(mask.mean()))
    measurement = Measurement(_classified(result, prediction, labels))
    if measurement.result.label_error is not None:
        measurement.model |= label_statistics(measurement.result.label_error)
    truth = truth_of(sample, scores.shape)
    if truth is not None:
        _measure_pixels(measurement, scores, mask, truth)
        if prediction.class_probabilities is not None:
            _measure_classes(measurement, sample, prediction, labels, threshold)
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


def _classified(result: ImageResult, prediction: Prediction, labels: Sequence[str]) -> ImageResult:
    probs = prediction.probs if prediction.probs is not None else prediction.localizer_probs
    if probs is None:
        return result
    places = [prediction.classes.index(name) for name in labels]
    several = prediction.task == "multi-label"
    rank = None if several else rank_of(probs, places[0])
    wrong = set(labels).symmetric_difference(prediction.labels)
    inside, outside = entropies(probs, prediction.background_probs, prediction.task)
    return replace(
        result,
        predicted=prediction.label or NOTHING,
        label_probability=float(probs[places].mean()),
        label_error=len(wrong) / len(probs) if rank is None else float(rank > 1),
        rank=rank,
        foreground_entropy=inside,
        background_entropy=outside,
        mask_contrast=None if prediction.trust is None else prediction.trust.mask_contrast,
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


def _measure_classes(
    measurement: Measurement,
    sample: Sample,
    prediction: Prediction,
    labels: Sequence[str],
    threshold: float,
) -> None:
    """The mask of each class that the image shows, and in its place the constant masks."""
    truths = sample.read_class_masks(len(prediction.classes))
    shown = {name: truths[prediction.classes.index(name)] for name in labels}
    counts = {
        name: Counts.of(prediction.class_probability(name) > threshold, truth)
        for name, truth in shown.items()
    }
    measurement.model |= class_statistics(counts.values())
    for name, constant in BASELINES.items():
        mask = constant(*prediction.size)
        others = [Counts.of(mask, truth) for truth in shown.values()]
        measurement.constants[name] |= class_statistics(others)
    measurement.result = replace(
        measurement.result, class_f1={name: one.f1_plus for name, one in counts.items()}
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
