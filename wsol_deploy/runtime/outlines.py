"""The exact outlines of a mask: rings along pixel edges, holes apart, valid as polygons.

Coordinates are those of pixel corners: the pixel in column x and row y covers [x, x + 1] by
[y, y + 1], so a ring's area is the number of pixels in it. Pixels belong together if they share
an edge; two that only touch at a corner are two polygons, as OGC and JTS (QuPath) want it.
"""

from __future__ import annotations

import numpy as np

Points = list[tuple[int, int]]


def trace(mask: np.ndarray) -> list[np.ndarray]:
    """The boundary rings of a mask.

    Args:
        mask: bool, H x W.

    Returns:
        int32, K x 2 arrays of (x, y) corners, not closed, none visited twice. Foreground lies to
        the right of the direction of travel as seen on the screen: the signed area (shoelace) is
        positive for an outer ring and negative for a hole.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    x, y, right, down = _corners(padded)
    if not len(x):
        return []
    across = _partners(np.lexsort((right, x, y)))
    along = _partners(np.lexsort((down, y, x)))
    rings = _walk(across.tolist(), along.tolist())
    inside = padded[1:, 1:]
    found: list[np.ndarray] = []
    for ring in rings:
        points = np.stack([x[ring], y[ring]], axis=1)
        left = points[:2, 0].min()
        forward = bool(inside[points[0, 1], left]) == bool(points[1, 0] > points[0, 0])
        found += _split(points if forward else points[::-1])
    return found


def signed_area(ring: np.ndarray) -> float:
    """Shoelace area of a ring (K x 2): positive for outer rings of `trace`, negative for holes."""
    x, y = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _corners(padded: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, y of each turn, and whether its edges leave it to the right and downwards.

    Where four pixels touch like a chessboard the boundary turns twice: two entries.
    """
    a, b = padded[:-1, :-1], padded[:-1, 1:]
    c, d = padded[1:, :-1], padded[1:, 1:]
    saddle = (a == d) & (b == c) & (a != b)
    y1, x1 = np.nonzero(((a + b + c + d) & 1).astype(bool))
    ys, xs = np.nonzero(saddle)
    horizontal_right = b[y1, x1] != d[y1, x1]
    vertical_down = c[y1, x1] != d[y1, x1]
    falling = a[ys, xs].astype(bool)  # foreground in the upper left and lower right
    false, true = np.zeros(len(xs), bool), np.ones(len(xs), bool)
    return (
        np.concatenate([x1, xs, xs]).astype(np.int32),
        np.concatenate([y1, ys, ys]).astype(np.int32),
        np.concatenate([horizontal_right, false, true]),
        np.concatenate([vertical_down, ~falling, falling]),
    )


def _partners(order: np.ndarray) -> np.ndarray:
    """Corners in the order of a line pair up: the first with the second, and so on."""
    partner = np.empty(len(order), np.int64)
    partner[order[::2]] = order[1::2]
    partner[order[1::2]] = order[::2]
    return partner


def _walk(across: list[int], along: list[int]) -> list[list[int]]:
    """Closed walks, alternating horizontal and vertical edges, the first one horizontal."""
    seen = bytearray(len(across))
    rings = []
    for start in range(len(across)):
        if seen[start]:
            continue
        ring: list[int] = []
        corner = start
        while not seen[corner]:
            other = across[corner]
            ring += (corner, other)
            seen[corner] = seen[other] = 1
            corner = along[other]
        rings.append(ring)
    return rings


def _split(points: np.ndarray) -> list[np.ndarray]:
    """Cut a ring that touches itself at corners into rings that do not."""
    corners: Points = [(x, y) for x, y in points.tolist()]
    if len(set(corners)) == len(corners):
        return [np.ascontiguousarray(points, np.int32)]
    rings: list[Points] = []
    path: Points = []
    place: dict[tuple[int, int], int] = {}
    for corner in corners:
        if corner in place:
            start = place[corner]
            rings.append(path[start:])
            for passed in path[start:]:
                del place[passed]
            del path[start:]
        place[corner] = len(path)
        path.append(corner)
    rings.append(path)
    return [np.array(ring, np.int32) for ring in rings]
