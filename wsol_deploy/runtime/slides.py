"""Whole slides of scanners, streamed by openslide."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsol_deploy.errors import ImageError, MissingExtra
from wsol_deploy.runtime.pyramids import check_size, over_white


class SlidePyramid:
    """A whole slide.

    Args:
        path: the file.

    Raises:
        ImageError: openslide cannot read it.
        MissingExtra: openslide is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import openslide
        except ImportError as error:
            raise MissingExtra("Reading a whole slide", "wsi") from error
        self._path = path
        self._errors = (openslide.OpenSlideError, OSError)
        try:
            self._slide = openslide.OpenSlide(path)
        except self._errors as error:
            raise ImageError(f"{path}: not a slide, or damaged ({error})") from error
        self.sizes = [(height, width) for width, height in self._slide.level_dimensions]
        self._factors = self._slide.level_downsamples
        self.mpp = self._pixel_size()
        check_size(path, *self.sizes[0])

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """What was not scanned is white."""
        factor = self._factors[level]
        corner = round(left * factor), round(top * factor)
        try:
            region = self._slide.read_region(corner, level, (width, height))
        except self._errors as error:
            raise ImageError(f"{self._path}: damaged or cut short ({error})") from error
        return over_white(np.asarray(region))

    def close(self) -> None:
        self._slide.close()

    def _pixel_size(self) -> tuple[float, float] | None:
        properties = self._slide.properties
        try:
            return float(properties["openslide.mpp-x"]), float(properties["openslide.mpp-y"])
        except (KeyError, ValueError):
            return None
