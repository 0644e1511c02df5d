"""Paint the tissue around the glands: a canvas of two stains, fibres, cells, holes.

Nothing here knows a grade, so nothing here can give it away.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FIELD = 176  # the field of view, in units; a unit is about half a micrometre
MARGIN = 24  # painted around the field and cropped off, in units
OVERSAMPLING = 2
SUBPIXEL = 4
HAEMATOXYLIN = np.array([0.62, 0.78, 0.30])  # optical density of red, green, blue
EOSIN = np.array([0.10, 0.66, 0.27])


@dataclass(frozen=True)
class Canvas:
    """Densities of the two stains over the field and its margin, or over a window of it.

    Attributes:
        haematoxylin, eosin: float32, height x width, 0 is unstained.
        unit: pixels of the canvas to a unit of the field.
    """

    haematoxylin: np.ndarray
    eosin: np.ndarray
    unit: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.eosin.shape[0], self.eosin.shape[1]

    def window(self, rows: slice, columns: slice) -> Canvas:
        """A part of the canvas; painting on it paints on the whole."""
        return Canvas(self.haematoxylin[rows, columns], self.eosin[rows, columns], self.unit)

    def fill(self, region: np.ndarray, haematoxylin: float, eosin: float) -> None:
        """Set both stains where `region` (bool, height x width) is True."""
        self.haematoxylin[region] = haematoxylin
        self.eosin[region] = eosin

    def ellipses(
        self,
        centres: np.ndarray,
        axes: np.ndarray,
        angles: np.ndarray,
        haematoxylin: np.ndarray | float,
        eosin: np.ndarray | float,
    ) -> None:
        """Fill n ellipses, one over the other.

        Args:
            centres: n x 2, (x, y) in pixels.
            axes: n x 2, half axes in units.
            angles: n, of the first axis, radians.
            haematoxylin, eosin: n, or one density for all.
        """
        scale = 1 << SUBPIXEL
        at = np.round(centres * scale).astype(int).tolist()
        half = np.round(axes * self.unit * scale).astype(int).tolist()
        degrees = np.degrees(angles).tolist()
        stains = [np.broadcast_to(stain, len(at)).tolist() for stain in (haematoxylin, eosin)]
        for centre, axis, angle, *densities in zip(at, half, degrees, *stains, strict=True):
            for layer, density in zip((self.haematoxylin, self.eosin), densities, strict=True):
                cv2.ellipse(
                    layer, centre, axis, angle, 0, 360, density, cv2.FILLED, cv2.LINE_8, SUBPIXEL
                )


def blank(size: int) -> Canvas:
    """An unstained canvas for an image of `size` x `size`."""
    unit = OVERSAMPLING * size / FIELD
    side = OVERSAMPLING * size + 2 * round(MARGIN * unit)
    return Canvas(np.zeros((side, side), np.float32), np.zeros((side, side), np.float32), unit)


def crop(layer: np.ndarray, size: int) -> np.ndarray:
    """The field without the margin, still oversampled."""
    start = (layer.shape[0] - OVERSAMPLING * size) // 2
    stop = start + OVERSAMPLING * size
    return np.ascontiguousarray(layer[start:stop, start:stop])


def smooth_noise(rng: np.random.Generator, canvas: Canvas, bump: float) -> np.ndarray:
    """Smooth noise over a canvas: float32, height x width, mean 0, deviation about 1.

    Args:
        bump: size of its bumps, in units.
    """
    height, width = canvas.shape
    cells = [2 + round(side / (bump * canvas.unit)) for side in (height, width)]
    grid = np.float32(1.4) * rng.standard_normal(cells, dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def stroma(rng: np.random.Generator, canvas: Canvas) -> None:
    """Fill the whole canvas with connective tissue, its cells and its holes."""
    angle = _fibres(rng, canvas)
    _holes(rng, canvas)
    _spindle_nuclei(rng, canvas, angle)
    _blood(rng, canvas)
    _lymphocytes(rng, canvas)


def develop(rng: np.random.Generator, canvas: Canvas, size: int) -> np.ndarray:
    """Look through the stained tissue: Beer-Lambert, with this slide's stain, lamp and camera.

    Returns:
        uint8, size x size x 3, RGB.
    """
    chromatin = 1 + np.float32(0.12) * smooth_noise(rng, canvas, bump=1.2)
    density = np.zeros((size, size, 3), np.float32)
    for layer, stain in ((canvas.haematoxylin * chromatin, HAEMATOXYLIN), (canvas.eosin, EOSIN)):
        field = cv2.resize(crop(layer, size), (size, size), interpolation=cv2.INTER_AREA)
        colour = rng.uniform(0.75, 1.2) * stain * (1 + rng.uniform(-0.12, 0.12, 3))
        density += field[..., None] * colour.astype(np.float32)
    lamp = rng.uniform(225, 250) * (1 - rng.uniform(0, 0.03, 3))
    light = lamp.astype(np.float32) * np.exp(-density)
    blurred = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.1, 0.7) * max(size / FIELD, 0.5))
    grain = np.float32(rng.uniform(1, 4)) * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(np.round(blurred + grain), 0, 255).astype(np.uint8)


def _fibres(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """Strands of collagen with clefts between them; returns their direction at every pixel."""
    height, width = canvas.shape
    direction = rng.uniform(0, np.pi)
    wave = smooth_noise(rng, canvas, bump=60) * np.float32(7 * canvas.unit)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    cosine, sine = np.float32(np.cos(direction)), np.float32(np.sin(direction))
    across = rows * cosine - columns * sine + wave
    along = (columns * cosine + rows * sine) / np.float32(7 * canvas.unit)
    strands = rng.standard_normal((512, 512), dtype=np.float32)
    fibre = cv2.remap(
        strands, along, across / np.float32(1.5 * canvas.unit), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    canvas.eosin[:] = 0.52 + 0.09 * fibre + 0.11 * smooth_noise(rng, canvas, bump=45)
    canvas.haematoxylin[:] = 0.17 + 0.025 * fibre + 0.05 * smooth_noise(rng, canvas, bump=12)
    cleft = fibre + 1.3 * smooth_noise(rng, canvas, bump=35) - np.float32(rng.uniform(2.2, 3.6))
    closed = 1 - np.float32(0.95) * np.clip(cleft * 2, 0, 1)
    for layer, least in ((canvas.eosin, 0.12), (canvas.haematoxylin, 0.03)):
        np.maximum(layer, least, out=layer)
        layer *= closed
    slope_y, slope_x = np.gradient(cv2.blur(across, (9, 9))[::8, ::8])
    coarse = np.arctan2(-slope_x, slope_y).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def _anywhere(rng: np.random.Generator, canvas: Canvas, count: int) -> np.ndarray:
    return rng.uniform(0, canvas.shape[::-1], (count, 2))


def _holes(rng: np.random.Generator, canvas: Canvas) -> None:
    count = int(rng.poisson(2.5))
    centres, angles = _anywhere(rng, canvas, count), rng.uniform(0, np.pi, count)
    axes = rng.uniform(6, 20, (count, 1)) * np.stack(
        [np.ones(count), rng.uniform(0.6, 1.0, count)], axis=1
    )
    canvas.ellipses(centres, axes + 1.2, angles, 0.22, 0.75)
    canvas.ellipses(centres, axes, angles, 0.01, 0.03)


def _spindle_nuclei(rng: np.random.Generator, canvas: Canvas, angle: np.ndarray) -> None:
    count = int(rng.integers(150, 360))
    centres = _anywhere(rng, canvas, count)
    columns, rows = centres.astype(int).T
    axes = rng.uniform((2.6, 0.8), (4.8, 1.5), (count, 2))
    angles = angle[rows, columns] + rng.normal(0, 0.3, count)
    canvas.ellipses(centres, axes, angles, rng.uniform(0.6, 1.15, count), 0.4)


def _blood(rng: np.random.Generator, canvas: Canvas) -> None:
    for heart in _anywhere(rng, canvas, int(rng.poisson(1.2))):
        cells = _cluster(rng, heart, 7 * canvas.unit, (10, 40))
        axes = rng.uniform(1.8, 2.6, (len(cells), 1)) * (1, 0.85)
        canvas.ellipses(cells, axes, np.zeros(len(cells)), 0.02, 1.4)


def _lymphocytes(rng: np.random.Generator, canvas: Canvas) -> None:
    for heart in _anywhere(rng, canvas, int(rng.integers(4, 11))):
        cells = _cluster(rng, heart, rng.uniform(8, 24) * canvas.unit, (20, 70))
        axes = rng.uniform(1.6, 2.3, (len(cells), 1)) * (1, 0.9)
        canvas.ellipses(cells, axes, np.zeros(len(cells)), rng.uniform(0.9, 1.4, len(cells)), 0.3)


def _cluster(
    rng: np.random.Generator, heart: np.ndarray, spread: float, count: tuple[int, int]
) -> np.ndarray:
    return heart + rng.normal(0, spread, (int(rng.integers(*count)), 2))
