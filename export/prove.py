"""Run the proof of an export: eager PyTorch against the artifact, on real images.

Both run on every image as it is, and then on odd sizes and batches of one to three. What is
compared is what users get: each output, the mask at the threshold, the label, the metrics.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from wsol_deploy import images
from wsol_deploy.card import MIN_SIDE
from wsol_deploy.errors import DataError, ImageError
from wsol_deploy.evaluation import evaluate
from wsol_deploy.export.proof import TITLES, Limits, Proof
from wsol_deploy.export.proof_data import ProofData
from wsol_deploy.runtime import Prediction, Predictor

logger = logging.getLogger(__name__)
PRIME = (127, 191)
Outputs = dict[str, np.ndarray]


def prove(
    reference: Predictor,
    artifact: Predictor,
    data: ProofData,
    limits: Limits,
    metrics: dict[str, float],
) -> Proof:
    """Compare an artifact with eager PyTorch.

    Args:
        reference: the checkpoint, in PyTorch.
        artifact: the file as users will run it.
        data: the images.
        limits: what is allowed.
        metrics: what `measure` gives for the reference.

    Raises:
        DataError: none of the images can be read.
    """
    comparison = _Comparison(reference, artifact, Proof(data.name, artifact.device, limits))
    singles = comparison.singles(data)
    proof = comparison.proof
    if metrics:
        found = evaluate(singles, data.classes, artifact.card.threshold.value).values
        proof.metrics = {"pytorch": metrics, "artifact": _chosen(found)}
    else:
        deque(singles, maxlen=0)
    if not comparison.largest:
        raise DataError(f"{data.name}: no image that can be read")
    comparison.odd()
    return proof


def measure(predictor: Predictor, data: ProofData) -> dict[str, float]:
    """Error, F1+ and F1- of a model, those for which there is a truth."""
    if not data.classes:
        return {}

    def predictions() -> Iterator[tuple[Any, Prediction]]:
        for picture in data.pictures:
            try:
                prediction = predictor.predict(picture.read())
            except ImageError as error:
                logger.warning("%s: left out (%s)", picture.name, error)
                continue
            yield picture.sample, prediction

    return _chosen(evaluate(predictions(), data.classes, predictor.card.threshold.value).values)


class _Comparison:
    """Feeds both models and keeps the three largest images for the odd batches."""

    def __init__(self, reference: Predictor, artifact: Predictor, proof: Proof) -> None:
        self.reference, self.artifact, self.proof = reference, artifact, proof
        self.largest: list[tuple[str, np.ndarray]] = []

    def singles(self, data: ProofData) -> Iterator[tuple[Any, Prediction]]:
        """Every image as it is; yields what the artifact says of it."""
        for picture in data.pictures:
            try:
                pixels = picture.read()
                fitted = self.artifact.prepare(pixels)
            except ImageError:
                continue
            self.largest = sorted(
                [*self.largest, (picture.name, fitted)], key=lambda item: -item[1].size
            )[:3]
            outputs = self.both(fitted[None], picture.name, counts=True)
            row = {name: values[0] for name, values in outputs.items()}
            yield picture.sample, self.artifact.finish(row, pixels.shape[:2])

    def odd(self) -> None:
        """The smallest size, a prime one for two images, the largest there is for three."""
        whole = self.largest[0][1].shape[:2]
        fixed = self.artifact.card.input.size.height is not None
        sizes = [whole] * 3 if fixed else [(MIN_SIDE, MIN_SIDE), PRIME, whole]
        for count, size in enumerate(sizes, start=1):
            chosen = [self.largest[at % len(self.largest)] for at in range(count)]
            batch = np.stack([images.resize(image, *size) for _, image in chosen])
            name = " + ".join(name for name, _ in chosen)
            together = self.both(batch, name)
            if count > 1:
                self.apart(batch, together, name)

    def both(self, batch: np.ndarray, name: str, *, counts: bool = False) -> Outputs:
        """Run both and note the differences; returns the artifact's outputs.

        Args:
            batch: uint8, N x H x W x 3.
            name: for the report.
            counts: these are images as users have them: masks and labels must agree on them.
        """
        case = f"{name} at {batch.shape[1]} x {batch.shape[2]}"
        expected, found = self.reference.run(batch), self.artifact.run(batch)
        self.proof.add(expected, found, case)
        if counts:
            self.proof.agreement.add(expected, found, self.artifact.card.threshold.value)
        return found

    def apart(self, batch: np.ndarray, together: Outputs, name: str) -> None:
        """Compare a batch with its images one by one."""
        for at in range(len(batch)):
            for output, values in self.artifact.run(batch[at : at + 1]).items():
                self.proof.batching.add(together[output][at : at + 1], values, name)


def _chosen(values: dict[str, float]) -> dict[str, float]:
    return {name: values[name] for name in TITLES if name in values}
