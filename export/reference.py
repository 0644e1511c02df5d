"""Eager PyTorch, asked the same once for each format: its answers are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from wsol_deploy import runtime
from wsol_deploy.runtime import Predictor

MOST_BYTES = 500_000_000


class _Remembering:
    """A back end that answers a batch it has seen from memory, up to 500 MB of answers."""

    def __init__(self, predictor: Predictor) -> None:
        self.device, self.outputs = predictor.device, predictor.outputs
        self._predictor = predictor
        self._answers: dict[tuple[tuple[int, ...], bytes], dict[str, np.ndarray]] = {}
        self._bytes = 0

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs, float32, for uint8 N x H x W x 3."""
        key = batch.shape, hashlib.sha256(batch.data).digest()
        if key not in self._answers:
            answer = self._predictor.run(batch)
            self._bytes += sum(values.nbytes for values in answer.values())
            if self._bytes > MOST_BYTES:
                return answer
            self._answers[key] = answer
        return self._answers[key]


def reference(checkpoint: Path) -> Predictor:
    """The checkpoint in eager PyTorch, on the CPU. Raises ArtifactError."""
    predictor = runtime.load(checkpoint, device="cpu")
    return Predictor(predictor.path, predictor.card, _Remembering(predictor))
