"""How large a pixel is, if the image file says so: OME-TIFF, ImageJ, Aperio, resolution tags."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from PIL import Image

DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, UNIT = 270, 282, 283, 296
MICROMETRES = {2: 25_400.0, 3: 10_000.0}
METRIC = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3, "cm": 1e4}
LARGEST = 20.0  # no printer's resolution (1200 dpi is 21 micrometres) is taken for a microscope's
SUFFIXES = frozenset((".tif", ".tiff", ".png"))


def pixel_size(path: Path) -> tuple[float, float] | None:
    """(x, y) micrometres of a pixel, or None if the file does not say or cannot be read.

    Plain resolution tags count only if they mean at most 20 micrometres a pixel: larger values
    are the defaults of drawing programs and printers.
    """
    if path.suffix.lower() not in SUFFIXES:
        return None
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if path.suffix.lower() == ".png":
                return _plausible(_of_dpi(image.info.get("dpi")))
            tags = dict(image.tag_v2.items())  # type: ignore[attr-defined]
    except Exception:  # a damaged header fails in as many ways as Pillow has plugins
        return None
    return of_tags(tags)


def of_tags(tags: dict[int, object]) -> tuple[float, float] | None:
    """(x, y) micrometres of a pixel by a TIFF file's tags, or None if they do not say."""
    description = str(tags.get(DESCRIPTION, ""))
    resolution = _resolution(tags)
    return (
        _ome(description) or _aperio(description) or _imagej(description, resolution)
        or _plausible(_of_unit(resolution, tags.get(UNIT, 2)))
    )  # fmt: skip


def _ome(description: str) -> tuple[float, float] | None:
    found = []
    for axis in "XY":
        size = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', description)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', description)
        scale = METRIC.get(unit.group(1).replace("μ", "µ") if unit else "µm")
        if size is None or scale is None:
            return None
        found.append(float(size.group(1)) * scale)
    return _positive(found[0], found[1])


def _aperio(description: str) -> tuple[float, float] | None:
    size = re.search(r"\bMPP\s*=\s*([0-9.]+)", description)
    return _positive(float(size.group(1)), float(size.group(1))) if size else None


def _imagej(description: str, resolution: tuple[float, float] | None) -> tuple[float, float] | None:
    unit = re.search(r"^unit=(.+)$", description, re.MULTILINE)
    if unit is None or resolution is None:
        return None
    name = unit.group(1).strip().replace("\\u00B5", "µ").replace("μ", "µ")
    scale = METRIC.get(name)
    return None if scale is None else (scale / resolution[0], scale / resolution[1])


def _resolution(tags: dict[int, object]) -> tuple[float, float] | None:
    try:
        x, y = float(tags[X_RESOLUTION]), float(tags[Y_RESOLUTION])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return _positive(x, y)


def _of_unit(resolution: tuple[float, float] | None, unit: object) -> tuple[float, float] | None:
    length = MICROMETRES.get(unit) if isinstance(unit, int) else None
    if resolution is None or length is None:
        return None
    return length / resolution[0], length / resolution[1]


def _of_dpi(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    return _of_unit(_positive(*dpi), 2) if dpi else None


def _positive(x: float, y: float) -> tuple[float, float] | None:
    return (x, y) if 0 < x < 1e9 and 0 < y < 1e9 else None


def _plausible(size: tuple[float, float] | None) -> tuple[float, float] | None:
    return size if size is not None and max(size) <= LARGEST else None
