"""Two methods on one picture: their masks, where they differ, and both against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wsol_deploy import images
from wsol_deploy.demo import views
from wsol_deploy.demo.shelf import Shelf
from wsol_deploy.errors import DataError, UsageError
from wsol_deploy.runtime import Prediction, render

CLASS_MAP = " · class map"
CLASS_MAP_THRESHOLD = 0.5


def methods(shelf: Shelf) -> list[str]:
    """What can be compared: each model's mask, and the class map of its label where it has one.

    A class map is what CAM methods show: A_i of the label, stretched to [0, 1] in the picture.
    """
    found = []
    for name in shelf.names:
        outputs = shelf.cards[name].outputs
        found.append(name)
        if not outputs or "class_maps" in outputs:
            found.append(name + CLASS_MAP)
    return found


def first_pair(shelf: Shelf) -> tuple[str, str]:
    """What to compare to begin with: two models, or the one model's mask and its class map."""
    first, *others = shelf.names[:2] if len(shelf.names) > 1 else methods(shelf)
    return first, others[0] if others else first


@dataclass(frozen=True, eq=False)
class Side:
    """One method's answer.

    Attributes:
        method: its name.
        threshold: above which its score is foreground.
        label: the class, or None.
        score: its probability, or None.
        mask: bool, H x W.
    """

    method: str
    threshold: float
    label: str | None
    score: float | None
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two answers on one picture.

    Attributes:
        image: uint8, H x W x 3, RGB.
        first, second: the answers.
        truth: bool, H x W, or None.
    """

    image: np.ndarray
    first: Side
    second: Side
    truth: np.ndarray | None

    @property
    def report(self) -> dict[str, Any]:
        """How far they agree, and each one's numbers; all fractions in [0, 1]."""
        one, two = self.first.mask, self.second.mask
        return {
            "agreement": float((one == two).mean()),
            "iou_between": overlap(one, two),
            "only_first": float((one & ~two).mean()),
            "only_second": float((two & ~one).mean()),
            "both": float((one & two).mean()),
            "methods": [self._numbers(side) for side in (self.first, self.second)],
            "all_ones": None if self.truth is None else scores(np.ones_like(one), self.truth),
        }

    def pictures(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both overlays and the disagreement map, as shown: uint8, h x w x 3, RGB."""
        image = views.fit(self.image)
        small = [
            images.resize(side.mask.astype(np.float32), *image.shape[:2]) > 0.5
            for side in (self.first, self.second)
        ]
        overlays = [render.overlay(image, mask) for mask in small]
        return overlays[0], overlays[1], views.disagreement(image, *small)

    def _numbers(self, side: Side) -> dict[str, Any]:
        against = {} if self.truth is None else scores(side.mask, self.truth)
        return {
            "method": side.method,
            "threshold": side.threshold,
            "label": side.label,
            "score": side.score,
            "foreground_fraction": float(side.mask.mean()),
            **against,
        }


def compare(
    shelf: Shelf, image: np.ndarray, first: str, second: str, truth: np.ndarray | None = None
) -> Comparison:
    """Ask two methods about RGB pixels (uint8, H x W x 3).

    Args:
        shelf: the models.
        image: the picture.
        first, second: of `methods`.
        truth: bool, H x W, or None.

    Raises:
        UsageError: an unknown method.
        DataError: the truth has another size than the picture.
    """
    if truth is not None and truth.shape != image.shape[:2]:
        raise DataError(
            f"the truth mask has {truth.shape[1]} x {truth.shape[0]} pixels, the picture "
            f"{image.shape[1]} x {image.shape[0]}: give a mask of the picture's size"
        )
    known = methods(shelf)
    for method in (first, second):
        if method not in known:
            raise UsageError(f"no method {method!r} here; known: {', '.join(known)}")
    models = {method.removesuffix(CLASS_MAP) for method in (first, second)}
    predictions = {name: shelf.predictor(name).predict(image) for name in models}
    one, two = (
        _side(method, predictions[method.removesuffix(CLASS_MAP)]) for method in (first, second)
    )
    return Comparison(image, one, two, truth)


def scores(mask: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """F1+ (Dice of the foreground), F1- (of the background) and IoU; 1 where neither has any."""
    return {
        "f1_plus": _dice(mask, truth),
        "f1_minus": _dice(~mask, ~truth),
        "iou": overlap(mask, truth),
    }


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    """Intersection over union of two bool masks; 1 where neither has any."""
    union = np.count_nonzero(one | two)
    return float(np.count_nonzero(one & two) / union) if union else 1.0


def _dice(one: np.ndarray, two: np.ndarray) -> float:
    total = np.count_nonzero(one) + np.count_nonzero(two)
    return float(2 * np.count_nonzero(one & two) / total) if total else 1.0


def _side(method: str, prediction: Prediction) -> Side:
    label, scores = prediction.label, prediction.scores or {}
    score = min((scores[name] for name in prediction.labels), default=None)
    if not method.endswith(CLASS_MAP):
        return Side(method, prediction.threshold, label, score, prediction.mask)
    if prediction.class_maps is None:
        raise UsageError(f"{method}: this model gives no class maps")
    index = prediction.classes.index(prediction.labels[0]) if prediction.labels else 0
    stretched = _stretch(prediction.class_maps[index])
    full = images.resize(stretched, *prediction.probability.shape)
    return Side(method, CLASS_MAP_THRESHOLD, label, score, full > CLASS_MAP_THRESHOLD)


def _stretch(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-6)).astype(np.float32)
