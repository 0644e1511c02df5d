"""Place and paint glands: their outline and their texture are all that tells the grades apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from wsol_deploy.datasets.tissue import OVERSAMPLING, Canvas, crop, smooth_noise

Grade = Literal["benign", "malignant"]
GRADES: tuple[Grade, ...] = ("benign", "malignant")
COVERAGE = (0.30, 0.58)
ATTEMPTS = 120
KEPT = 0.88  # a gland that would lose more to its neighbours is not placed


@dataclass(frozen=True)
class Gland:
    """One gland: its grade, its window of the canvas, and its region (bool) in that window."""

    grade: Grade
    rows: slice
    columns: slice
    region: np.ndarray


def place(
    rng: np.random.Generator, canvas: Canvas, grades: Sequence[Grade], size: int
) -> list[Gland]:
    """Outline glands of the grades, by turns, until a random share of the field is covered."""
    taken = np.zeros(canvas.shape, np.uint8)
    inside = np.zeros(canvas.shape, np.uint8)
    glands: list[Gland] = []
    target = rng.uniform(*COVERAGE)
    scale, lean, gap = rng.uniform(0.8, 1.2), rng.uniform(0, np.pi), rng.uniform(3, 7)
    for attempt in range(ATTEMPTS):
        grade = grades[attempt % len(grades)]
        shape = _fill(canvas, grade, OUTLINES[grade](rng, canvas, scale, lean), gap)
        if shape is None:
            continue
        window = (shape.rows, shape.columns)
        free = shape.region & (taken[window] == 0)
        if free.sum() < KEPT * shape.region.sum():
            continue
        region = _largest_piece(free)
        glands.append(Gland(grade, *window, region))
        inside[window] |= region
        away = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)
        taken[window] |= away < gap * canvas.unit
        if crop(inside, size).mean() >= target:
            break
    return glands


def paint(rng: np.random.Generator, canvas: Canvas, glands: Sequence[Gland]) -> None:
    """Stain every gland in its grade's texture."""
    for gland in glands:
        TEXTURES[gland.grade](rng, canvas.window(gland.rows, gland.columns), gland.region)


def number(canvas: Canvas, glands: Sequence[Gland], size: int) -> np.ndarray:
    """Instance ids at the image's size: uint16, size x size, 0 is background."""
    ids = np.zeros(canvas.shape, np.uint16)
    for index, gland in enumerate(glands, start=1):
        ids[gland.rows, gland.columns][gland.region] = index
    return np.ascontiguousarray(crop(ids, size)[::OVERSAMPLING, ::OVERSAMPLING])


def _benign_outline(
    rng: np.random.Generator, canvas: Canvas, scale: float, lean: float
) -> list[np.ndarray]:
    radius, aspect = scale * rng.uniform(22, 36), rng.uniform(1.0, 1.7)
    angle = lean + rng.normal(0, 0.3)
    return [_blob(rng, canvas, _centre(rng, canvas), radius, aspect, angle, wobble=0.035)]


def _malignant_outline(
    rng: np.random.Generator, canvas: Canvas, scale: float, lean: float
) -> list[np.ndarray]:
    centre = _centre(rng, canvas)
    lobes = []
    for _ in range(rng.integers(2, 5)):
        radius, aspect = scale * rng.uniform(15, 26), rng.uniform(1.1, 2.0)
        lobes.append(_blob(rng, canvas, centre, radius, aspect, rng.uniform(0, np.pi), wobble=0.11))
        turn = rng.uniform(0, 2 * np.pi)
        step = radius * rng.uniform(0.9, 1.4) * canvas.unit
        centre = centre + step * np.array([np.cos(turn), np.sin(turn)])
    return lobes


OUTLINES = {"benign": _benign_outline, "malignant": _malignant_outline}


def _centre(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    return rng.uniform(0.06, 0.94, 2) * canvas.shape[0]


def _blob(
    rng: np.random.Generator,
    canvas: Canvas,
    centre: np.ndarray,
    radius: float,
    aspect: float,
    angle: float,
    wobble: float,
) -> np.ndarray:
    """An ellipse with a wavy outline: int32, points x 2, (x, y) in pixels."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    order = np.arange(2, 9)
    strength = wobble * rng.standard_normal(order.size) / np.sqrt(order - 1)
    phase = rng.uniform(0, 2 * np.pi, order.size)
    reach = 1 + (strength[:, None] * np.cos(order[:, None] * turn + phase[:, None])).sum(axis=0)
    x = radius * np.sqrt(aspect) * reach * np.cos(turn)
    y = radius / np.sqrt(aspect) * reach * np.sin(turn)
    cosine, sine = np.cos(angle), np.sin(angle)
    points = np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)
    return np.round(centre + points * canvas.unit).astype(np.int32)


def _fill(canvas: Canvas, grade: Grade, polygons: Sequence[np.ndarray], gap: float) -> Gland | None:
    """The union of polygons as a gland whose window leaves room for the gap around it."""
    points = np.concatenate(polygons)
    border = int(np.ceil((gap + 1) * canvas.unit))
    height, width = canvas.shape
    left, top = np.maximum(points.min(axis=0) - border, 0)
    right, bottom = np.minimum(points.max(axis=0) + border, (width, height))
    if right - left <= 2 * border or bottom - top <= 2 * border:
        return None
    region = np.zeros((bottom - top, right - left), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(region, [polygon - np.array([left, top], np.int32)], 1)
    if not region.any():
        return None
    return Gland(grade, slice(top, bottom), slice(left, right), region.astype(bool))


def _largest_piece(region: np.ndarray) -> np.ndarray:
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    return pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


class _Interior:
    """How deep a pixel lies below a gland's rim, and which way is inward."""

    def __init__(self, canvas: Canvas, region: np.ndarray) -> None:
        self.unit = canvas.unit
        self.depth: np.ndarray = (
            cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5) / canvas.unit
        )
        soft = cv2.GaussianBlur(self.depth.astype(np.float32), (0, 0), 2.5 * canvas.unit)
        self.slope = np.dstack(
            [cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)]
        )
        contours, _ = cv2.findContours(
            region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        self.contour = max(contours, key=len)[:, 0].astype(np.float64)

    def inward(self, points: np.ndarray) -> np.ndarray:
        """Unit vectors (x, y) that point away from the rim."""
        columns, rows = points.astype(int).T
        vectors = self.slope[rows, columns]
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)

    def rim(self, spacing: float) -> np.ndarray:
        """Points (x, y) on the rim, `spacing` units apart."""
        steps = np.linalg.norm(np.diff(self.contour, axis=0), axis=1)
        travelled = np.concatenate([[0.0], np.cumsum(steps)])
        wanted = np.arange(0, travelled[-1], spacing * self.unit)
        return np.stack([np.interp(wanted, travelled, axis) for axis in self.contour.T], axis=1)

    def depth_at(self, points: np.ndarray) -> np.ndarray:
        """Depths in units, 0 outside."""
        height, width = self.depth.shape
        columns, rows = points.astype(int).T
        inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        depths = self.depth[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        return np.where(inside, depths, 0.0)


def _cytoplasm(
    rng: np.random.Generator, canvas: Canvas, region: np.ndarray, haematoxylin: float, eosin: float
) -> None:
    grain = 1 + np.float32(0.13) * np.clip(smooth_noise(rng, canvas, bump=4)[region], -2, 2)
    canvas.haematoxylin[region] = haematoxylin * grain
    canvas.eosin[region] = eosin * grain


def _benign_texture(rng: np.random.Generator, canvas: Canvas, region: np.ndarray) -> None:
    """A clear lumen, goblet vacuoles, and one clean layer of nuclei that point inward."""
    inside = _Interior(canvas, region)
    _cytoplasm(rng, canvas, region, rng.uniform(0.24, 0.38), rng.uniform(0.38, 0.52))
    lumen = float(inside.depth.max()) * rng.uniform(0.62, 1.0)
    _vacuoles(rng, canvas, inside, lumen)
    wisps = smooth_noise(rng, canvas, bump=4)
    canvas.fill(region & (inside.depth + 1.2 * wisps > lumen), 0.03, 0.06)
    rim = inside.rim(spacing=rng.uniform(3.2, 4.0))
    inward, count = inside.inward(rim), len(rim)
    centres = rim + inward * rng.normal(4.4, 0.5, (count, 1)) * canvas.unit
    axes = rng.uniform((2.7, 1.1), (4.0, 1.6), (count, 2))
    angles = _angle(inward) + rng.normal(0, 0.12, count)
    canvas.ellipses(centres, axes, angles, rng.uniform(0.8, 1.15, count), 0.35)


def _angle(vectors: np.ndarray) -> np.ndarray:
    return np.arctan2(vectors[:, 1], vectors[:, 0])


def _vacuoles(rng: np.random.Generator, canvas: Canvas, inside: _Interior, lumen: float) -> None:
    richness = rng.uniform(0.35, 1.0)
    for depth in np.arange(13.0, lumen + 3, 9.5):
        rim = inside.rim(spacing=6.5 + depth / 5)
        rim = rim[rng.random(len(rim)) < richness]
        inward = inside.inward(rim)
        centres = rim + inward * rng.normal(depth, 0.8, (len(rim), 1)) * canvas.unit
        deep = inside.depth_at(centres) >= 10
        centres, inward, count = centres[deep], inward[deep], int(deep.sum())
        axes = rng.uniform((3.8, 2.4), (5.4, 3.5), (count, 2))
        canvas.ellipses(
            centres, axes, _angle(inward),
            rng.uniform(0.04, 0.14, count), rng.uniform(0.05, 0.16, count),
        )  # fmt: skip


def _malignant_texture(rng: np.random.Generator, canvas: Canvas, region: np.ndarray) -> None:
    """Crowded cytoplasm, small lumens, and disordered nuclei in many layers."""
    inside = _Interior(canvas, region)
    _cytoplasm(rng, canvas, region, rng.uniform(0.32, 0.46), rng.uniform(0.5, 0.68))
    lumens = _lumens(rng, canvas, inside)
    canvas.fill(lumens, 0.03, 0.06)
    shore = cv2.distanceTransform((~lumens).astype(np.uint8), cv2.DIST_L2, 3) / canvas.unit
    band, spacing = rng.uniform(14, 30), rng.uniform(4.0, 4.8)
    rows, columns = np.nonzero(region)
    chosen = rng.integers(0, rows.size, int(rows.size / (spacing * canvas.unit) ** 2))
    rows, columns = rows[chosen], columns[chosen]
    depth = inside.depth[rows, columns]
    edge = band + rng.normal(0, 5, depth.size)
    kept = (depth > 2.2) & (depth < edge) & (shore[rows, columns] > 3.5)
    kept |= lumens[rows, columns] & (rng.random(depth.size) < 0.12)
    points = np.stack([columns[kept], rows[kept]], axis=1)
    count = len(points)
    axes = rng.uniform((2.2, 1.3), (4.2, 2.1), (count, 2))
    angles = _angle(inside.inward(points)) + rng.normal(0, 0.5 + depth[kept] / band)
    canvas.ellipses(points, axes, angles, rng.uniform(0.65, 1.25, count), 0.45)


def _lumens(rng: np.random.Generator, canvas: Canvas, inside: _Interior) -> np.ndarray:
    lumens = np.zeros(inside.depth.shape, np.uint8)
    rows, columns = np.nonzero(inside.depth > 9)
    for _ in range(rng.integers(1, 8) if rows.size else 0):
        pick = rng.integers(0, rows.size)
        centre = np.array([columns[pick], rows[pick]], np.float64)
        radius = min(rng.uniform(2, 7), float(inside.depth[rows[pick], columns[pick]]) - 6)
        aspect, angle = rng.uniform(1, 2.4), rng.uniform(0, np.pi)
        cv2.fillPoly(lumens, [_blob(rng, canvas, centre, radius, aspect, angle, wobble=0.15)], 1)
    return lumens.astype(bool) & (inside.depth > 6)


TEXTURES = {"benign": _benign_texture, "malignant": _malignant_texture}
