"""What a proof found: how far an artifact is from eager PyTorch, and whether that is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wsol_deploy.export.options import Precision
from wsol_deploy.runtime.trust import PRESENT

TITLES = {"error": "error", "f1_plus": "F1+", "f1_minus": "F1-"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What an artifact may differ by.

    Attributes:
        difference: of any value of any output, see `Difference.relative`; None does not limit it.
        mask_iou: least intersection over union of the masks at the threshold.
        labels_agree: least share of images with the same label.
        loss: of F1+ and of F1-, as a fraction.
    """

    difference: float | None = None
    mask_iou: float = 0.0
    labels_agree: float = 0.0
    loss: float = 1.0


LIMITS: dict[Precision, Limits] = {
    "float32": Limits(difference=1e-4),
    "float16": Limits(difference=0.1, mask_iou=0.99, labels_agree=0.99, loss=0.005),
    "int8": Limits(labels_agree=0.99, loss=0.005),
}


@dataclass(slots=True)
class Difference:
    """How far one output is from eager PyTorch's.

    Attributes:
        max: the largest absolute difference, over all pixels of all cases.
        mean: the mean absolute difference, over the cases.
        relative: the largest difference in units of the output's largest magnitude in its batch,
            or of 1 where that is smaller: what is limited.
        worst: the case of `relative`.
    """

    max: float = 0.0
    mean: float = 0.0
    relative: float = 0.0
    worst: str = ""
    cases: int = 0

    def add(self, expected: np.ndarray, found: np.ndarray, case: str) -> None:
        """Take one more case into account; another shape or a NaN is infinitely far."""
        largest = mean = float("inf")
        alike = expected.shape == found.shape
        if alike and np.isfinite(expected).all() and np.isfinite(found).all():
            apart = np.abs(expected - found)
            largest, mean = float(apart.max(initial=0)), float(apart.mean())
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        relative = largest / scale if np.isfinite(largest) else largest
        if relative >= self.relative:
            self.relative, self.worst = relative, case
        self.max = max(self.max, largest)
        self.cases += 1
        self.mean += (mean - self.mean) / self.cases


@dataclass(slots=True)
class Agreement:
    """Pixels of both masks, and labels, over the images at their own size."""

    intersection: int = 0
    union: int = 0
    same: int = 0
    images: int = 0
    dice: dict[str, float] = field(default_factory=lambda: {"f1_plus": 0.0, "f1_minus": 0.0})

    def add(
        self, expected: dict[str, np.ndarray], found: dict[str, np.ndarray], threshold: float
    ) -> None:
        """Take a batch into account."""
        self.images += len(expected["mask"])
        self.same += int((_labels(expected) == _labels(found)).all(axis=1).sum())
        if expected["mask"].shape != found["mask"].shape:
            self.union += expected["mask"].size
            return
        for ours, theirs in zip(
            expected["mask"] > threshold, found["mask"] > threshold, strict=True
        ):
            self.intersection += int((ours & theirs).sum())
            self.union += int((ours | theirs).sum())
            self.dice["f1_plus"] += _dice(ours, theirs)
            self.dice["f1_minus"] += _dice(~ours, ~theirs)

    @property
    def mask_iou(self) -> float:
        """Intersection over union over all pixels."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def masks(self) -> str:
        """`mask_iou` in words."""
        return f"mask IoU {self.mask_iou:.5f}" if self.union else "no mask has any foreground"

    @property
    def labels_agree(self) -> float:
        """Share of images with the same label."""
        return self.same / self.images if self.images else 1.0


@dataclass(slots=True)
class Proof:
    """What the comparison found.

    Attributes:
        data: where the images come from, in words.
        device: where the artifact ran.
        limits: what was allowed.
        outputs: differences by output.
        batching: of a batch from its images one by one.
        agreement: of masks and labels.
        metrics: error, F1+ and F1- of "pytorch" and of "artifact", where there is a truth.
        forced: kept although it failed.
    """

    data: str
    device: str
    limits: Limits
    outputs: dict[str, Difference] = field(default_factory=dict)
    batching: Difference = field(default_factory=Difference)
    agreement: Agreement = field(default_factory=Agreement)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    forced: bool = False

    def add(
        self,
        expected: dict[str, np.ndarray],
        found: dict[str, np.ndarray],
        case: str,
    ) -> None:
        """Take one batch's outputs, of PyTorch and of the artifact, into account."""
        for name, values in expected.items():
            self.outputs.setdefault(name, Difference()).add(values, found[name], case)

    @property
    def worst(self) -> tuple[str, Difference]:
        """The output that differs most."""
        return max(self.outputs.items(), key=lambda item: item[1].relative)

    @property
    def losses(self) -> dict[str, float]:
        """What F1+ and F1- lose; against PyTorch's own masks where there are no true ones."""
        ours, theirs = self.metrics.get("pytorch", {}), self.metrics.get("artifact", {})
        if all("f1_plus" in values for values in (ours, theirs)):
            return {name: ours[name] - theirs[name] for name in self.agreement.dice}
        images = max(1, self.agreement.images)
        return {name: 1 - total / images for name, total in self.agreement.dice.items()}

    @property
    def failure(self) -> str:
        """What is beyond its limit, in words, or ""."""
        name, apart = self.worst
        limits, largest = self.limits, self.limits.difference
        if largest is not None and apart.relative > largest:
            return f"{name} differs from PyTorch by {apart.relative:.1e} on {apart.worst}"
        if largest is not None and self.batching.relative > largest:
            return (
                f"a batch differs from its images one by one by {self.batching.relative:.1e} on "
                f"{self.batching.worst}"
            )
        if self.agreement.mask_iou < limits.mask_iou:
            return f"the masks' IoU with PyTorch's is {self.agreement.mask_iou:.4f}"
        if self.agreement.labels_agree < limits.labels_agree:
            return f"{self.agreement.labels_agree:.1%} of the labels agree with PyTorch's"
        lost = {metric: loss for metric, loss in self.losses.items() if loss > limits.loss}
        return " and ".join(
            f"{TITLES[metric]} falls by {100 * loss:.1f} points" for metric, loss in lost.items()
        )

    @property
    def passed(self) -> bool:
        """Whether everything is within its limits."""
        return not self.failure

    @property
    def summary(self) -> str:
        """One line: the verdict, or what failed."""
        name, apart = self.worst
        verdict = f"FAILED, kept by force ({self.failure})" if self.failure else "as PyTorch"
        return (
            f"{verdict} on {self.data}: largest difference {apart.max:.1e} ({name}), "
            f"{self.agreement.masks}, labels agree {self.agreement.labels_agree:.1%}"
        )

    def brief(self) -> dict[str, Any]:
        """What the artifact's card says of it."""
        name, apart = self.worst
        return {
            "passed": self.passed,
            "forced": self.forced,
            "summary": self.summary,
            "images": self.agreement.images,
            "largest_difference": apart.max,
            "in_output": name,
            "mask_iou": self.agreement.mask_iou,
            "labels_agree": self.agreement.labels_agree,
            "metrics": self.metrics,
        }

    def to_dict(self) -> dict[str, Any]:
        """The whole proof as JSON."""
        return {
            **self.brief(),
            "failure": self.failure,
            "masks": self.agreement.masks,
            "data": self.data,
            "device": self.device,
            "limits": {name: getattr(self.limits, name) for name in Limits.__slots__},
            "outputs": {name: _json(apart) for name, apart in self.outputs.items()},
            "batch_against_singles": _json(self.batching),
        }


def _json(apart: Difference) -> dict[str, Any]:
    return {name: getattr(apart, name) for name in ("max", "mean", "relative", "worst")}


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _labels(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """N x 1: the likeliest class; of a multi-label model N x c: which classes are found."""
    for name in ("probs", "localizer_probs"):
        if name in outputs:
            probs = outputs[name]
            several = "class_masks" in outputs
            return probs > PRESENT if several else probs.argmax(axis=1, keepdims=True)
    return np.zeros((len(outputs["mask"]), 1), dtype=int)
