"""Evaluate a model file on a data set: read, predict, measure, one batch after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from wsol_deploy.artifacts import read_card
from wsol_deploy.datasets.base import Dataset, Sample
from wsol_deploy.errors import ImageError
from wsol_deploy.evaluation.report import Shown, choose
from wsol_deploy.evaluation.results import Evaluation
from wsol_deploy.runtime import Prediction, Predictor, load

OUTPUTS = ("mask", "probs", "localizer_probs", "background_probs", "class_masks")
logger = logging.getLogger(__name__)


def open_model(path: Path, device: str = "auto", *, trust: bool = False) -> Predictor:
    """Load a model file for the outputs that evaluation uses; see `runtime.load`."""
    said = read_card(path).outputs
    outputs = [name for name in OUTPUTS if name in said] if said else None
    return load(path, device=device, outputs=outputs, trust=trust)


class Predictions:
    """Samples with what a model says of them, in order, one batch in memory.

    The next batch is decoded while this one is predicted. An image that cannot be read or
    predicted costs a line in the log and is left out.

    Args:
        predictor: the model.
        samples: to go through.
        batch_size: images of equal size at once; None for the predictor's own.

    Attributes:
        failed: names of the samples left out so far.
    """

    def __init__(
        self, predictor: Predictor, samples: Sequence[Sample], batch_size: int | None = None
    ) -> None:
        if batch_size is not None:
            predictor.batch_size = batch_size
        self.failed: list[str] = []
        self._predictor = predictor
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[tuple[Sample, Prediction]]:
        size = self._predictor.batch_size
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._read, self._samples[:size])
            for start in range(size, len(self) + size, size):
                batch = coming.result()
                coming = ahead.submit(self._read, self._samples[start : start + size])
                yield from self._predict(batch)

    def _read(self, samples: Sequence[Sample]) -> list[tuple[Sample, np.ndarray]]:
        found = []
        for sample in samples:
            try:
                found.append((sample, sample.read_image()))
            except ImageError as error:
                self._leave_out(sample, error)
        return found

    def _predict(
        self, batch: Sequence[tuple[Sample, np.ndarray]]
    ) -> Iterator[tuple[Sample, Prediction]]:
        try:
            results = self._predictor.predict([image for _, image in batch])
        except ImageError as error:
            if len(batch) == 1:
                self._leave_out(batch[0][0], error)
                return
            for one in batch:
                yield from self._predict([one])
            return
        yield from zip((sample for sample, _ in batch), results, strict=True)

    def _leave_out(self, sample: Sample, error: ImageError) -> None:
        reason = str(error)
        logger.error("%s", reason if str(sample.image) in reason else f"{sample.name}: {reason}")
        self.failed.append(sample.name)


def gallery(
    predictor: Predictor, dataset: Dataset, evaluation: Evaluation
) -> dict[str, list[Shown]]:
    """The report's worst, median and best images, predicted again."""
    samples = {sample.name: sample for sample in dataset.samples}
    return {
        group: [
            Shown(samples[result.name], predictor.predict(samples[result.name].image), result)
            for result in results
        ]
        for group, results in choose(evaluation).items()
    }
