"""`labelme`: labelme/NAME.json, polygons to correct in labelme; holes are reached by a slit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from wsol_deploy.batch.page import Page
from wsol_deploy.batch.writers.base import LABEL

VERSION = "5.5.0"


class LabelmeWriter:
    """Needs to know where the output folder is: labelme opens the image beside its JSON.

    Args:
        root: the output folder.
    """

    outputs = LABEL
    needs_image = False

    def __init__(self, root: str) -> None:
        self._root = root

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        name = f"labelme/{page.name}.json"
        document: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [
                {
                    "label": page.label_of(part),
                    "points": part.polygon.simplified().keyhole().astype(float).tolist(),
                    "group_id": None,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
                for part in page.prediction.components
            ],
            "imagePath": _relative(str(page.path), os.path.join(self._root, name)),  # noqa: PTH118
            "imageData": None,
            "imageHeight": page.height,
            "imageWidth": page.width,
        }
        yield name, json.dumps(document).encode()


def _relative(image: str, document: str) -> str:
    try:
        return os.path.relpath(image, os.path.dirname(os.path.abspath(document)))  # noqa: PTH100, PTH120
    except ValueError:  # another drive
        return image
