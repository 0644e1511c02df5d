"""`geojson`: geojson/NAME.geojson, annotations that QuPath (0.4 and later) opens by drag and drop.

Coordinates are pixels of the image, pixel corners counted from the upper left, as QuPath's.
"""

from __future__ import annotations

import colorsys
import json
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np

from wsol_deploy.batch.page import Page
from wsol_deploy.batch.writers.base import LABEL
from wsol_deploy.files import readable
from wsol_deploy.runtime.geometry import Component

HEAD, TAIL = b'{"type": "FeatureCollection", "features": [', b"]}"


class GeoJsonWriter:
    outputs = LABEL
    needs_image = False

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        features = (
            json.dumps(_feature(page, index, part)).encode()
            for index, part in enumerate(page.prediction.components)
        )
        yield f"geojson/{page.name}.geojson", HEAD + b", ".join(features) + TAIL


def _feature(page: Page, index: int, part: Component) -> dict[str, Any]:
    polygon = part.polygon
    rings = [_closed(ring) for ring in (polygon.shell, *polygon.holes)]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{readable(page.name)}#{index}")),
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "name": f"{page.label_of(part)} {index + 1}",
            "classification": {"name": page.label_of(part), "color": _colour(page, part)},
            "measurements": _measurements(page, part),
        },
    }


def _closed(ring: np.ndarray) -> list[list[int]]:
    return [*ring.tolist(), ring[0].tolist()]


def _measurements(page: Page, part: Component) -> dict[str, float]:
    values = {
        "Area px^2": float(part.area),
        "Mean probability": round(part.mean_probability, 6),
    }
    score = page.score_of(part)
    if score is not None:
        values["Score"] = round(score, 6)
    if page.pixel_size is not None:
        values["Area µm^2"] = round(part.area * page.pixel_size[0] * page.pixel_size[1], 6)
    return values


def _colour(page: Page, part: Component) -> list[int]:
    """A hue of its own for each class."""
    classes, label = page.prediction.classes, page.label_of(part)
    place = classes.index(label) / len(classes) if label in classes else 0.0
    return [round(255 * value) for value in colorsys.hsv_to_rgb(place, 0.75, 0.9)]
