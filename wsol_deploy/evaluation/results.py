"""What an evaluation gives: metrics beside baselines, and a result for every image."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy.card import SEPARATOR, Measured
from wsol_deploy.evaluation.classification import confusion_matrix
from wsol_deploy.evaluation.metrics import DEFINITIONS
from wsol_deploy.files import write_whole


@dataclass(frozen=True, slots=True)
class Metric:
    """A value in [0, 1] with its 95 % interval (None without resampling) and image count."""

    value: float
    low: float | None
    high: float | None
    images: int


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One image's result; what cannot be measured is None.

    Attributes:
        name: of the sample.
        label, predicted: class names, several as in "cat;dog".
        label_probability: posterior of the true class, or the mean of the true classes'.
        label_error: 0 or 1, or the share of wrong decisions over the classes.
        rank: place of the true class, from 1; None where images show several.
        f1_plus, f1_minus, iou: of the mask at the evaluation's threshold, in [0, 1].
        box_iou: best IoU of the largest region's box with a true box, at that threshold.
        foreground, truth_foreground: shares of foreground pixels, in [0, 1].
        foreground_entropy, background_entropy: of the posteriors on X+ and X-, over log c.
        mask_contrast: how far the soft mask tells inside from outside, in [0, 1].
        flagged: whether the card's trust limits ask for a second look.
        class_f1: Dice of the own mask of each class shown, where images show several.
    """

    name: str
    label: str
    predicted: str | None = None
    label_probability: float | None = None
    label_error: float | None = None
    rank: int | None = None
    f1_plus: float | None = None
    f1_minus: float | None = None
    iou: float | None = None
    box_iou: float | None = None
    foreground: float | None = None
    truth_foreground: float | None = None
    foreground_entropy: float | None = None
    background_entropy: float | None = None
    mask_contrast: float | None = None
    flagged: bool | None = None
    class_f1: dict[str, float] | None = None

    @property
    def quality(self) -> float:
        """How good the result is, in [0, 1].

        The mean over the classes' own masks, else of F1+ and F1-, else box IoU, else posterior.
        """
        if self.class_f1:
            return sum(self.class_f1.values()) / len(self.class_f1)
        if self.f1_plus is not None and self.f1_minus is not None:
            return (self.f1_plus + self.f1_minus) / 2
        if self.box_iou is not None:
            return self.box_iou
        return self.label_probability or 0.0


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One true class's row of the per-class table; what cannot be measured is None.

    Where images show several classes an image counts for each, and F1+ is of the class's own mask.
    """

    label: str
    images: int
    error: float | None
    f1_plus: float | None
    f1_minus: float | None
    iou: float | None
    box_acc: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result over a data set.

    Attributes:
        classes: the model's class names.
        threshold: of the soft mask, for everything that needs one.
        images: a result for each, in the order evaluated.
        metrics: by the names of `metrics.DEFINITIONS`, those that could be measured.
        baselines: row name ("all-ones", "centre-box", "majority class") to metric to value.
        curves: float64, 2 x 101: mean F1+ and F1- at thresholds 0, 0.01, ..., 1; or None.
        histogram: int64, 2 x 102: scores on the object and beside it; or None.
        notes: sentences on what was left out or derived.
    """

    classes: tuple[str, ...]
    threshold: float
    images: tuple[ImageResult, ...]
    metrics: dict[str, Metric]
    baselines: dict[str, dict[str, float]]
    curves: np.ndarray | None = None
    histogram: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """Metric name to value."""
        return {name: metric.value for name, metric in self.metrics.items()}

    @property
    def confusion(self) -> np.ndarray | None:
        """int64, c x c: rows are true classes, columns predicted ones; None without a label, or
        where images show several."""
        pairs = [(r.label, r.predicted) for r in self.images if r.rank is not None and r.predicted]
        if not pairs:
            return None
        place = {name: index for index, name in enumerate(self.classes)}
        labels, predicted = np.array([(place[a], place[b]) for a, b in pairs]).T
        return confusion_matrix(labels, predicted, len(self.classes))

    def worst_first(self) -> list[ImageResult]:
        """Every image's result by rising quality."""
        return sorted(self.images, key=lambda result: (result.quality, result.name))

    def per_class(self) -> list[ClassResult]:
        """A row for each true class that occurs."""
        groups: dict[str, list[ImageResult]] = {name: [] for name in self.classes}
        for result in self.images:
            for name in result.class_f1 or (result.label,):
                groups.setdefault(name, []).append(result)
        return [
            ClassResult(
                label=name,
                images=len(group),
                error=_mean(r.label_error for r in group),
                f1_plus=_mean(r.class_f1[name] if r.class_f1 else r.f1_plus for r in group),
                f1_minus=_mean(r.f1_minus for r in group),
                iou=_mean(r.iou for r in group),
                box_acc=_mean(
                    None if r.box_iou is None else float(r.box_iou >= 0.5) for r in group
                ),
            )
            for name, group in groups.items()
            if group
        ]

    def measured(self, dataset: str, split: str) -> Measured:
        """The entry for a model card."""
        return Measured(
            dataset=dataset,
            split=split,
            images=len(self.images),
            values=self.values,
            baselines=self.baselines,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, the images' results left out."""
        confusion = self.confusion
        return {
            "images": len(self.images),
            "threshold": self.threshold,
            "classes": list(self.classes),
            "metrics": {name: dataclasses.asdict(m) for name, m in self.metrics.items()},
            "baselines": self.baselines,
            "per_class": [dataclasses.asdict(row) for row in self.per_class()],
            "confusion": None if confusion is None else confusion.tolist(),
            "titles": {name: DEFINITIONS[name].title for name in self.metrics},
            "notes": list(self.notes),
        }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a row for each image, the worst first; the file appears whole or not at all."""
    fields = [field.name for field in dataclasses.fields(ImageResult)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*fields, "quality"])
    for result in evaluation.worst_first():
        writer.writerow([_cell(getattr(result, f)) for f in fields] + [_cell(result.quality)])
    write_whole(path, text.getvalue().encode(errors="surrogateescape"))


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return SEPARATOR.join(f"{name} {round(one, 6)}" for name, one in value.items())
    return round(value, 6) if isinstance(value, float) else value
