"""Regions of a mask: components, boxes, polygons with holes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wsol_deploy.runtime.outlines import signed_area, trace

CONNECTIVITY = 4
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Component:
    """One connected region (pixels sharing an edge).

    Attributes:
        area: pixels.
        box: (x, y, width, height) in pixels.
        centroid: (x, y), mean of the pixels' centres; a pixel's centre is its index plus 0.5.
        mean_probability: of the soft mask over the region, in [0, 1].
        pixels: bool: the region's own pixels within the box, or cells of several pixels where
            the mask was too large to be looked at whole.
        rows, columns: int, where the rows and columns of `pixels` begin in the image, and where
            the last ends.
        label: the class it is of, where each class has a mask of its own.
    """

    area: int
    box: Box
    centroid: tuple[float, float]
    mean_probability: float
    pixels: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    label: str | None = None

    @property
    def polygon(self) -> Polygon:
        """The region's outline in the image's coordinates."""
        rings = [
            np.stack([self.columns[ring[:, 0]], self.rows[ring[:, 1]]], axis=1)
            for ring in trace(self.pixels)
        ]
        areas = [signed_area(ring) for ring in rings]
        shell = next(ring for ring, area in zip(rings, areas, strict=True) if area > 0)
        holes = [ring for ring, area in zip(rings, areas, strict=True) if area < 0]
        return Polygon(shell, tuple(holes))


@dataclass(frozen=True, eq=False)
class Polygon:
    """An outline with holes.

    Attributes:
        shell: K x 2, (x, y) of pixel corners, not closed; its shoelace area is positive.
        holes: rings of the same kind with negative area.
    """

    shell: np.ndarray
    holes: tuple[np.ndarray, ...] = ()

    @property
    def area(self) -> float:
        """Pixels inside."""
        return signed_area(self.shell) + sum(signed_area(hole) for hole in self.holes)

    def simplified(self, tolerance: float = 1.0) -> Polygon:
        """Fewer points, none further than `tolerance` pixels from the exact outline."""
        shell = _simplify(self.shell, tolerance)
        holes = [_simplify(hole, tolerance) for hole in self.holes]
        if len(shell) < 3:
            return Polygon(self.shell)
        return Polygon(shell, tuple(hole for hole in holes if len(hole) >= 3))

    def keyhole(self) -> np.ndarray:
        """One ring for formats without holes: each hole is reached through a slit without width.

        Filled by the even-odd rule it covers the same pixels.
        """
        ring = self.shell
        for hole in self.holes:
            here = ((ring - hole[0]) ** 2).sum(axis=1).argmin()
            ring = np.concatenate([ring[: here + 1], hole, hole[:1], ring[here:]])
        return ring


def components(
    mask: np.ndarray,
    probability: np.ndarray,
    rows: np.ndarray | None = None,
    columns: np.ndarray | None = None,
    label: str | None = None,
) -> list[Component]:
    """The connected regions of a mask, from top to bottom, then from left to right.

    Args:
        mask: bool, H x W.
        probability: float32, H x W in [0, 1].
        rows, columns: int32, H + 1 and W + 1: where the mask's rows and columns begin in the
            image, and where the last ends; None if they are the image's own.
        label: of every region.
    """
    rows = np.arange(mask.shape[0] + 1, dtype=np.int32) if rows is None else rows
    columns = np.arange(mask.shape[1] + 1, dtype=np.int32) if columns is None else columns
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=CONNECTIVITY
    )
    found = []
    for index in range(1, count):
        x, y, width, height = (int(value) for value in stats[index, : cv2.CC_STAT_AREA])
        window = (slice(y, y + height), slice(x, x + width))
        found.append(
            _component(
                labels[window] == index,
                probability[window],
                rows[y : y + height + 1],
                columns[x : x + width + 1],
                label,
            )
        )
    return sorted(found, key=lambda part: (part.box[1], part.box[0], part.centroid))


def _component(
    pixels: np.ndarray,
    probability: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    label: str | None,
) -> Component:
    heights, widths = np.diff(rows).astype(np.int64), np.diff(columns).astype(np.int64)
    by_row, by_column = pixels @ widths * heights, heights @ pixels * widths
    area = int(by_row.sum())
    return Component(
        area=area,
        box=(
            int(columns[0]),
            int(rows[0]),
            int(columns[-1] - columns[0]),
            int(rows[-1] - rows[0]),
        ),
        centroid=(_middle(by_column, columns, area), _middle(by_row, rows, area)),
        mean_probability=float(probability[pixels].mean(dtype=np.float64)),
        pixels=pixels,
        rows=rows,
        columns=columns,
        label=label,
    )


def _middle(weights: np.ndarray, edges: np.ndarray, area: int) -> float:
    return float(weights @ (edges[:-1] + edges[1:])) / (2 * area)


def _simplify(ring: np.ndarray, tolerance: float) -> np.ndarray:
    return cv2.approxPolyDP(ring.reshape(-1, 1, 2), tolerance, closed=True).reshape(-1, 2)
