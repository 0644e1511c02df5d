"""TIFF, BigTIFF and OME-TIFF, tiled or in strips, streamed by tifffile."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy.errors import ImageError, MissingExtra
from wsol_deploy.images import ORIENTATION
from wsol_deploy.pixelsize import DESCRIPTION, UNIT, X_RESOLUTION, Y_RESOLUTION, of_tags
from wsol_deploy.runtime.pyramids import OPAQUE, check_size, over_white

LAYOUTS = ("YX", "YXS", "SYX", "CYX")
TYPES = ("bool", "uint8", "uint16")
COLOURS = ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR")
KNOWN = frozenset(product(LAYOUTS, TYPES, COLOURS))
SIZE_TAGS = (DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, UNIT)
LARGEST_CHUNK = 2**28


class TiffPyramid:
    """The first image of a TIFF file with its smaller copies.

    Args:
        path: the file.

    Raises:
        ImageError: damaged, or no image in gray or RGB of 8 or 16 bits.
        MissingExtra: tifffile is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import tifffile
            import zarr  # noqa: F401
        except ImportError as error:
            raise MissingExtra("Streaming a TIFF", "tiff") from error
        self._path = path
        try:
            self._file = tifffile.TiffFile(path)
            found = self._file.series[0].levels
            self._levels = [_level(self._file, number) for number in range(len(found))]
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        except Exception as error:  # damaged files fail in as many ways as there are tags
            raise ImageError(f"{path}: damaged or cut short ({error})") from error
        self.sizes = [level.size for level in self._levels]
        self.mpp = of_tags(_tags(self._file.pages[0]))
        check_size(path, *self.sizes[0])

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        try:
            return self._levels[level].read(slice(top, top + height), slice(left, left + width))
        except Exception as error:  # decoders raise nearly anything on damaged chunks
            raise ImageError(f"{self._path}: damaged or cut short ({error})") from error

    def close(self) -> None:
        self._file.close()


class _Level:
    """One size of the image.

    Args:
        array: sliced like numpy's; its axes are those of `layout`.
        layout: one of LAYOUTS.
        inverted: 0 is white.
    """

    def __init__(self, array: Any, layout: str, inverted: bool) -> None:
        self._array = array
        self._layout = layout
        self._inverted = inverted
        rows = layout.index("Y")
        self.size = int(array.shape[rows]), int(array.shape[rows + 1])

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """uint8, H x W x 3, RGB."""
        if self._layout in ("SYX", "CYX"):
            pixels = np.moveaxis(np.asarray(self._array[:, rows, columns]), 0, 2)
        else:
            pixels = np.asarray(self._array[rows, columns])
        pixels = _eight_bits(pixels.reshape(*pixels.shape[:2], -1))
        return over_white(OPAQUE - pixels if self._inverted else pixels)


class _Rows:
    """Pixels that lie in the file as they are; nothing is mapped into memory."""

    def __init__(self, path: str, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = shape
        self._file = os.open(path, os.O_RDONLY)
        self._offset = offset
        self._dtype = dtype
        self._pixel = shape[2:]
        self._step = int(np.prod(shape[1:])) * dtype.itemsize
        self._cell = int(np.prod(shape[2:], dtype=int)) * dtype.itemsize

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        rows, columns = place
        count, first = (columns.stop - columns.start) * self._cell, columns.start * self._cell
        lines = [
            os.pread(self._file, count, self._offset + row * self._step + first)
            for row in range(rows.start, rows.stop)
        ]
        shape = (len(lines), columns.stop - columns.start, *self._pixel)
        return np.frombuffer(b"".join(lines), self._dtype).reshape(shape)

    def __del__(self) -> None:
        os.close(self._file)


def _tags(page: Any) -> dict[int, object]:
    """The tags that say how large a pixel is, as Pillow gives them."""
    found = {number: page.tags[number].value for number in SIZE_TAGS if number in page.tags}
    ratios = (number for number in (X_RESOLUTION, Y_RESOLUTION) if number in found)
    found |= {number: found[number][0] / max(found[number][1], 1) for number in ratios}
    return found | ({UNIT: int(found[UNIT])} if UNIT in found else {})


def _level(file: Any, number: int) -> _Level:
    import zarr

    series = file.series[0].levels[number]
    page = series.keyframe
    layout, kind, colours = series.axes, series.dtype.name, page.photometric.name
    channels = series.shape[0] if layout == "CYX" else 3
    if (layout, kind, colours) not in KNOWN or channels != 3:
        raise ImageError(
            f"a TIFF of axes {layout}, {kind}, {colours.lower()} cannot be streamed; give it as "
            "gray or RGB of 8 or 16 bits"
        )
    turned = page.tags.valueof(ORIENTATION, 1)
    if turned != 1:
        raise ImageError(
            f"a TIFF of orientation {int(turned)} cannot be streamed; write it upright"
        )
    inverted = colours == "MINISWHITE"
    if page.is_memmappable and layout in ("YX", "YXS"):
        rows = _Rows(file.filehandle.path, series.dataoffset, series.shape, series.dtype)
        return _Level(rows, layout, inverted)
    array: Any = zarr.open(file.aszarr(series=0, level=number), mode="r")
    if int(np.prod(array.chunks)) * array.dtype.itemsize > LARGEST_CHUNK:
        raise ImageError("its strips are too large to be streamed; write it in tiles")
    return _Level(array, layout, inverted)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) * OPAQUE + 32767) // 65535).astype(np.uint8)
    return pixels * np.uint8(OPAQUE) if pixels.dtype == bool else pixels
