"""The proof of an export: eager PyTorch against the artifact, output by output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wsol_deploy.export.proof_cases import Case

Run = Callable[[np.ndarray], dict[str, np.ndarray]]
TOLERANCE = 1e-4


@dataclass(slots=True)
class Difference:
    """How far one output is from eager PyTorch's.

    Differences are absolute, but for an output whose values leave [-1, 1]: there they are
    relative to its largest magnitude in the batch.

    Attributes:
        max: the largest, over all pixels of all cases.
        mean: the mean over the cases.
        worst: the case of the largest.
    """

    max: float = 0.0
    mean: float = 0.0
    worst: str = ""
    cases: int = 0

    def add(self, expected: np.ndarray, found: np.ndarray, case: str) -> None:
        """Take one more case into account."""
        if expected.shape != found.shape:
            largest = mean = float("inf")
        else:
            scale = max(1.0, float(np.abs(expected).max(initial=0)))
            apart = np.abs(expected - found) / scale
            largest, mean = float(apart.max(initial=0)), float(apart.mean())
            largest = float("inf") if np.isnan(largest) else largest
        if largest >= self.max:
            self.max, self.worst = largest, case
        self.cases += 1
        self.mean += (mean - self.mean) / self.cases


@dataclass(slots=True)
class Proof:
    """What the comparison found.

    Attributes:
        images: where the pixels come from, in words.
        tolerance: largest difference allowed.
        outputs: the artifact's differences by output.
        batching: largest difference between a batch and its images one by one.
        mask_iou: intersection over union of both masks at the threshold, over all pixels.
        labels_agree: share of images with the same label.
    """

    images: str
    tolerance: float = TOLERANCE
    outputs: dict[str, Difference] = field(default_factory=dict)
    batching: float = 0.0
    mask_iou: float = 1.0
    labels_agree: float = 1.0
    compared: int = 0

    @property
    def worst(self) -> tuple[str, Difference]:
        """The output that differs most."""
        return max(self.outputs.items(), key=lambda item: item[1].max)

    @property
    def passed(self) -> bool:
        """Whether every output is within tolerance and batching changes nothing."""
        return max(self.worst[1].max, self.batching) <= self.tolerance

    @property
    def summary(self) -> str:
        """One line: the verdict and the largest difference."""
        name, difference = self.worst
        sign = "<=" if self.passed else ">"
        apart = max(difference.max, self.batching)
        where = name if difference.max >= self.batching else "a batch against single images"
        return (
            f"{self.compared} images ({self.images}): largest difference from PyTorch "
            f"{apart:.1e} {sign} {self.tolerance:.0e}, in {where}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The proof as JSON."""
        return {
            "passed": self.passed,
            "summary": self.summary,
            "images": self.images,
            "compared": self.compared,
            "tolerance": self.tolerance,
            "outputs": {
                name: {"max": apart.max, "mean": apart.mean, "worst": apart.worst}
                for name, apart in self.outputs.items()
            },
            "batch_against_singles": self.batching,
            "mask_iou": self.mask_iou,
            "labels_agree": self.labels_agree,
        }


def compare(
    reference: Run, artifact: Run, cases: Iterable[Case], *, threshold: float, images: str
) -> Proof:
    """Run both on every case.

    Args:
        reference: eager PyTorch; gives every output of the artifact.
        artifact: the exported file, as it will be run.
        threshold: of the mask.
        images: where the cases come from, for the report.
    """
    proof = Proof(images)
    intersection = union = agreed = 0
    for case in cases:
        expected, found = reference(case.batch), artifact(case.batch)
        for name, values in expected.items():
            proof.outputs.setdefault(name, Difference()).add(values, found[name], str(case))
        if len(case.batch) > 1:
            proof.batching = max(proof.batching, _batching(artifact, case, found))
        ours, theirs = expected["mask"] > threshold, found["mask"] > threshold
        if ours.shape == theirs.shape:
            intersection += int((ours & theirs).sum())
        union += int((ours | theirs).sum()) if ours.shape == theirs.shape else ours.size
        agreed += int((_labels(expected) == _labels(found)).sum())
        proof.compared += len(case.batch)
    proof.mask_iou = intersection / union if union else 1.0
    proof.labels_agree = agreed / proof.compared if proof.compared else 1.0
    return proof


def _batching(artifact: Run, case: Case, together: dict[str, np.ndarray]) -> float:
    """Largest difference between the batch and its images one by one."""
    largest = Difference()
    for index in range(len(case.batch)):
        alone = artifact(case.batch[index : index + 1])
        for name, values in alone.items():
            largest.add(values, together[name][index : index + 1], str(case))
    return largest.max


def _labels(outputs: dict[str, np.ndarray]) -> np.ndarray:
    for name in ("probs", "localizer_probs"):
        if name in outputs:
            return outputs[name].argmax(axis=1)
    return np.zeros(len(outputs["mask"]), dtype=int)
