"""A large image as overlapping tiles, and their class maps laid together without a seam."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsol_deploy.errors import UsageError

GRAIN = 64  # tiles start on cells of every stride a backbone has
LEAST = 1e-3


@dataclass(frozen=True, slots=True)
class Tiling:
    """How an image is cut.

    Attributes:
        tile: pixels a side.
        overlap: pixels that neighbours share. Its outer quarters, where a tile misses its
            context, count nothing; between them one tile fades into the other.

    Raises:
        UsageError: not multiples of 64, or an overlap over half a tile.
    """

    tile: int = 768
    overlap: int = 192

    def __post_init__(self) -> None:
        if self.tile % GRAIN or self.overlap % GRAIN or not 0 < 2 * self.overlap <= self.tile:
            raise UsageError(
                f"--tile {self.tile} --overlap {self.overlap}: both are multiples of {GRAIN}, "
                "the overlap at most half the tile"
            )

    def cut(self, size: tuple[int, int]) -> Iterator[Tile]:
        """The tiles of an image of (height, width), row by row."""
        for top in self._starts(size[0]):
            for left in self._starts(size[1]):
                yield Tile(top, left, min(self.tile, size[0] - top), min(self.tile, size[1] - left))

    def _starts(self, length: int) -> list[int]:
        if length <= self.tile:
            return [0]
        last = -(-(length - self.tile) // GRAIN) * GRAIN
        return [*range(0, last, self.tile - self.overlap), last]


class Tile(NamedTuple):
    """A rectangle of the image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Canvas:
    """The class maps of a whole image, laid together from those of its tiles.

    Args:
        size: (height, width) of the image in pixels.
        stride: pixels from one cell to the next.
        overlap: of the tiles, in pixels.
    """

    def __init__(self, size: tuple[int, int], stride: int, overlap: int) -> None:
        self._size = size
        self._stride = stride
        self._overlap = overlap
        self._sum: np.ndarray | None = None
        self._weight = np.zeros([-(-side // stride) for side in size], np.float32)

    def lay(self, tile: Tile, maps: np.ndarray) -> None:
        """Add a tile's class maps, float32, c x h x w."""
        if self._sum is None:
            self._sum = np.zeros((len(maps), *self._weight.shape), np.float32)
        window, weight = self._window(tile)
        self._sum[(slice(None), *window)] += _fitted(maps, weight.shape) * weight
        self._weight[window] += weight

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """The maps, float32, c x h' x w', and where a tile was laid: bool, h' x w'."""
        assert self._sum is not None
        covered = self._weight > 0
        for one in self._sum:
            np.divide(one, self._weight, out=one, where=covered)
        return self._sum, covered

    def share(self, tile: Tile) -> tuple[tuple[slice, slice], np.ndarray]:
        """A tile's cells, and how much of each is its own: float32; over all tiles it sums to 1."""
        window, weight = self._window(tile)
        return window, weight / self._weight[window]

    def _window(self, tile: Tile) -> tuple[tuple[slice, slice], np.ndarray]:
        """The tile's cells, and how much each counts."""
        top, left = tile.top // self._stride, tile.left // self._stride
        rows = self._ramp(tile.top, tile.height, self._size[0])
        columns = self._ramp(tile.left, tile.width, self._size[1])
        window = (slice(top, top + len(rows)), slice(left, left + len(columns)))
        return window, rows[:, None] * columns[None, :]

    def _ramp(self, start: int, length: int, whole: int) -> np.ndarray:
        place = np.arange(0, length, self._stride, dtype=np.float32)
        inside = np.full_like(place, np.inf)
        if start > 0:
            inside = place
        if start + length < whole:
            inside = np.minimum(inside, length - 1 - place)
        return np.clip((inside - self._overlap / 4) / (self._overlap / 2), LEAST, 1)


def _fitted(maps: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """Maps with as many cells as the tile has: a graph may leave out a last half cell."""
    lacking = [(0, max(0, count - have)) for count, have in zip(cells, maps.shape[1:], strict=True)]
    return np.pad(maps, [(0, 0), *lacking], mode="edge")[:, : cells[0], : cells[1]]
