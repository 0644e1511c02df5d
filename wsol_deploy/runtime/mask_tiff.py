"""Tiled, pyramidal BigTIFF, written without ever holding the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy.errors import MissingExtra

TILE = 512
ROWS_AT_ONCE = 128
SMALLEST = 1024
Pixels = Callable[[np.ndarray, np.ndarray], np.ndarray]


def write_pyramid(
    path: Path,
    size: tuple[int, int],
    dtype: np.dtype,
    pixels: Pixels,
    pixel_size: tuple[float, float] | None = None,
) -> None:
    """Write a gray image and its halves, quarters and so on.

    Args:
        path: the file.
        size: (height, width).
        dtype: uint8 or uint16.
        pixels: gives the values (R x C) where rows and columns cross; float indices.
        pixel_size: (x, y) micrometres, or None.

    Raises:
        MissingExtra: tifffile is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtra("Writing the mask of a large image", "tiff") from error
    steps = [1]
    while max(size) / steps[-1] > SMALLEST:
        steps.append(steps[-1] * 2)
    how: dict[str, Any] = {
        "tile": (TILE, TILE),
        "dtype": dtype,
        "photometric": "minisblack",
        "compression": "adobe_deflate",
        "metadata": None,
    }
    if pixel_size is not None:
        how |= {"resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, step in enumerate(steps):
            height, width = -(-size[0] // step), -(-size[1] // step)
            if pixel_size is not None:
                how["resolution"] = tuple(1e4 / (side * step) for side in pixel_size)
            tiff.write(
                _tiles(size, step, pixels, dtype),
                shape=(height, width),
                subifds=len(steps) - 1 if number == 0 else None,
                subfiletype=1 if number else 0,
                **how,
            )


def _tiles(
    size: tuple[int, int], step: int, pixels: Pixels, dtype: np.dtype
) -> Iterator[np.ndarray]:
    rows, columns = (np.minimum(np.arange(0, n, step) + (step - 1) / 2, n - 1) for n in size)
    for top in range(0, len(rows), TILE):
        band = rows[top : top + TILE]
        strips = [
            pixels(band[start : start + ROWS_AT_ONCE], columns)
            for start in range(0, len(band), ROWS_AT_ONCE)
        ]
        strip = np.zeros((TILE, -(-len(columns) // TILE) * TILE), dtype)
        strip[: len(band), : len(columns)] = np.concatenate(strips)
        for left in range(0, len(columns), TILE):
            yield np.ascontiguousarray(strip[:, left : left + TILE])
