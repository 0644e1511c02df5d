"""Any number of images through a graph whose batch size was fixed at export."""

from __future__ import annotations

import numpy as np

from wsol_deploy.runtime.backend import Backend


class FixedBatch:
    """A back end fed in full batches; the last one is filled with copies of its last image.

    Args:
        backend: takes exactly `size` images.
        size: of its batch.
    """

    def __init__(self, backend: Backend, size: int) -> None:
        self.device = backend.device
        self.outputs = backend.outputs
        self._backend = backend
        self._size = size

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs, float32, for uint8 N x H x W x 3, whatever N."""
        parts = [self._full(batch[at : at + self._size]) for at in range(0, len(batch), self._size)]
        return {
            name: np.concatenate([part[name] for part in parts])[: len(batch)]
            for name in self.outputs
        }

    def _full(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        lacking = self._size - len(batch)
        return self._backend.run(np.concatenate([batch, np.repeat(batch[-1:], lacking, axis=0)]))
