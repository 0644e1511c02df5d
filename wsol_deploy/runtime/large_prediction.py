"""What a model says of an image too large to hold its mask: looked at in cells, written in rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from wsol_deploy.runtime.geometry import Component, components
from wsol_deploy.runtime.mask_tiff import write_pyramid
from wsol_deploy.runtime.postprocess import NO_POST, PostProcess
from wsol_deploy.runtime.prediction import Prediction
from wsol_deploy.runtime.softmap import SoftMap

CELLS = 16_000_000


@dataclass(frozen=True, eq=False)
class LargePrediction(Prediction):
    """The result for one large image.

    `probability`, `mask` and `image` are those of cells of `step` x `step` pixels; components and
    polygons are made of such cells, and everything measured is in pixels of the image. The mask
    and the soft mask at full size are computed row by row while they are written.

    Attributes:
        soft: R+ at the size that was predicted.
        step: pixels of `soft` a cell, a side.
        whole: (height, width) of the image: of a slide, its first level.
        pixel_size: (x, y) micrometres of a pixel of `soft`, or None.
    """

    soft: SoftMap | None = None
    step: int = 1
    whole: tuple[int, int] = (0, 0)
    pixel_size: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.whole

    @cached_property
    def components(self) -> list[Component]:
        """Connected regions of the mask, in pixels of the image, from top to bottom."""
        return components(self.mask, self.probability, self._edges(0), self._edges(1))

    def write_mask(self, path: Path) -> None:
        """A tiled, pyramidal BigTIFF, 8-bit gray, 0 and 255. Raises MissingExtra."""
        self._write(path, np.uint8, self._mask_at)

    def write_probability(self, path: Path) -> None:
        """A tiled, pyramidal BigTIFF, 16-bit gray, R+ times 65535. Raises MissingExtra."""
        self._write(path, np.uint16, self._probability_at)

    def _write(self, path: Path, dtype: type, pixels) -> None:
        assert self.soft is not None
        write_pyramid(path, self.soft.size, np.dtype(dtype), pixels, self.pixel_size)

    def _mask_at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        assert self.soft is not None
        if self.post == NO_POST:
            mask = self.soft.at(rows, columns) > self.threshold
        else:
            cells = (
                np.floor(rows / self.step).astype(int),
                np.floor(columns / self.step).astype(int),
            )
            mask = self.mask[np.ix_(*cells)]
        return mask.astype(np.uint8) * np.uint8(255)

    def _probability_at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        assert self.soft is not None
        return np.rint(self.soft.at(rows, columns) * np.float32(65535)).astype(np.uint16)

    def _edges(self, axis: int) -> np.ndarray:
        assert self.soft is not None
        side = self.soft.size[axis]
        edges = np.minimum(np.arange(self.mask.shape[axis] + 1) * self.step, side)
        return np.rint(edges * (self.whole[axis] / side)).astype(np.int32)


def cell_size(size: tuple[int, int]) -> int:
    """Pixels a side of the cells in which an image of (height, width) is looked at: 1, 2, 4, ..."""
    step = 1
    while -(-size[0] // step) * -(-size[1] // step) > CELLS:
        step *= 2
    return step


def centres(count: int, step: int) -> np.ndarray:
    """The middles of the cells of `step` pixels along `count` pixels."""
    starts = np.arange(0, count, step)
    return np.minimum(starts + (step - 1) / 2, count - 1)


def in_cells(post: PostProcess, step: int) -> PostProcess:
    """Steps given in pixels, for a mask of cells."""
    return replace(post, smooth=post.smooth / step, min_area=-(-post.min_area // step**2))
