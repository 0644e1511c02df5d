"""Large images are read a rectangle at a time, from the level that suits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from wsol_deploy import images
from wsol_deploy.errors import ImageError

TIFF_SUFFIXES = frozenset((".tif", ".tiff", ".btf", ".tf8"))
SLIDE_SUFFIXES = frozenset((
    ".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide",
))  # fmt: skip
PIXELS_AT_ONCE = 16_000_000
MOST_PIXELS = 2**36
PIXELS_PER_BYTE = 2000
OPAQUE = 255


class Pyramid(Protocol):
    """An image at one or more sizes, the largest first.

    Attributes:
        sizes: (height, width) of each level.
        mpp: (x, y) micrometres of a pixel of the first level, or None.
    """

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...

    @property
    def mpp(self) -> tuple[float, float] | None: ...

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """uint8, height x width x 3, RGB: a rectangle within a level. Raises ImageError."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class ArrayPyramid:
    """One level: an image that was decoded whole (uint8, H x W x 3, RGB)."""

    def __init__(self, image: np.ndarray, mpp: tuple[float, float] | None = None) -> None:
        self.sizes = [(image.shape[0], image.shape[1])]
        self.mpp = mpp
        self._image = image

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        return self._image[top : top + height, left : left + width]

    def close(self) -> None:
        pass


class View:
    """A pyramid at any size, read from the smallest level that has all its detail.

    Args:
        pyramid: what is seen.
        size: (height, width).
    """

    def __init__(self, pyramid: Pyramid, size: tuple[int, int]) -> None:
        self.size = size
        self._pyramid = pyramid
        fine = [i for i, s in enumerate(pyramid.sizes) if s[0] >= size[0] and s[1] >= size[1]]
        self._level = max(fine, default=0)
        whole = pyramid.sizes[self._level]
        self._scale = whole[0] / size[0], whole[1] / size[1]

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """uint8, height x width x 3, RGB: a rectangle of the view. Raises ImageError."""
        if self._scale == (1, 1):
            return self._pyramid.read(self._level, top, left, height, width)
        rows = max(1, int(PIXELS_AT_ONCE / (width * self._scale[0] * self._scale[1])))
        parts = [
            self._resampled(row, left, min(rows, top + height - row), width)
            for row in range(top, top + height, rows)
        ]
        return np.concatenate(parts)

    def _resampled(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        high, wide = self._pyramid.sizes[self._level]
        y0, y1 = _span(top, height, self._scale[0], high)
        x0, x1 = _span(left, width, self._scale[1], wide)
        pixels = self._pyramid.read(self._level, y0, x0, y1 - y0, x1 - x0)
        shrinks = self._scale[0] * self._scale[1] > 1
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(pixels, (width, height), interpolation=method)


def open_pyramid(path: Path) -> Pyramid:
    """Open a TIFF or a whole slide for streaming; any other image is decoded whole.

    Raises:
        ImageError: missing, damaged, or of a kind that cannot be streamed.
        MissingExtra: tifffile or openslide is not installed.
    """
    suffix = path.suffix.lower()
    if suffix in SLIDE_SUFFIXES:
        from wsol_deploy.runtime.slides import SlidePyramid

        return SlidePyramid(path)
    if suffix in TIFF_SUFFIXES:
        from wsol_deploy.runtime.tiffs import TiffPyramid

        return TiffPyramid(path)
    return ArrayPyramid(images.read(path))


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse what no honest file holds. Raises ImageError."""
    content = path.stat().st_size
    if height * width > MOST_PIXELS or height * width > PIXELS_PER_BYTE * content:
        raise ImageError(f"{path}: {width} x {height} pixels in {content} bytes is no honest image")


def over_white(pixels: np.ndarray) -> np.ndarray:
    """uint8, H x W x 3, of gray, RGB or RGBA samples; what is transparent becomes white."""
    samples = pixels.shape[2]
    if samples <= 2:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    if samples == 3:
        return pixels
    alpha = pixels[:, :, 3:4].astype(np.uint16)
    return ((pixels[:, :, :3] * alpha + OPAQUE * (OPAQUE - alpha)) // OPAQUE).astype(np.uint8)


def _span(start: int, length: int, scale: float, whole: int) -> tuple[int, int]:
    first = min(round(start * scale), whole - 1)
    return first, max(first + 1, min(round((start + length) * scale), whole))
