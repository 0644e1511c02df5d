"""`coco`: coco.json, one annotation a component: compressed RLE, box, area and score."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.page import Page, categories
from wsol_deploy.batch.writers.base import LABEL, Entries
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import MissingExtra
from wsol_deploy.runtime.geometry import Component


class CocoWriter:
    """Raises MissingExtra if pycocotools is not installed."""

    outputs = LABEL
    section = "coco"

    def __init__(self) -> None:
        try:
            import pycocotools.mask  # noqa: F401
        except ImportError as error:
            raise MissingExtra("--save coco", "coco") from error

    def collect(self, entries: Entries, folder: Folder, card: ModelCard) -> None:
        ids = {name: number for number, name in enumerate(categories(card), start=1)}
        head = {
            "info": {"description": f"wsol-deploy, model {card.name}"},
            "licenses": [],
            "categories": [{"id": number, "name": name} for name, number in ids.items()],
        }
        with folder.open("coco.json") as stream:
            stream.write(json.dumps(head)[:-1] + ', "images": [')
            comma = ""
            for number, entry in enumerate(entries(), start=1):
                size = entry["coco"]["image"]
                image = {"id": number, "file_name": entry["image"], **size}
                stream.write(f"{comma}\n{json.dumps(image)}")
                comma = ","
            stream.write('\n], "annotations": [')
            count = 0
            for number, entry in enumerate(entries(), start=1):
                for part in entry["coco"]["annotations"]:
                    comma = "," if count else ""
                    count += 1
                    category = ids[part.pop("label")]
                    numbers = {"id": count, "image_id": number, "category_id": category}
                    stream.write(f"{comma}\n{json.dumps({**numbers, **part})}")
            stream.write("\n]}\n")


def coco_section(page: Page) -> dict[str, Any]:
    """One image's part of coco.json, without the numbers."""
    return {
        "image": {"width": page.width, "height": page.height},
        "annotations": [
            {
                "label": page.label_of(part),
                "segmentation": run_lengths(part, page.height, page.width),
                "bbox": list(part.box),
                "area": part.area,
                "iscrowd": 0,
                "score": round(part.mean_probability * _sure(page.score_of(part)), 6),
            }
            for part in page.prediction.components
        ],
    }


def _sure(score: float | None) -> float:
    return 1.0 if score is None else score


def run_lengths(part: Component, height: int, width: int) -> dict[str, Any]:
    """A component as COCO's compressed run lengths (column-major) over the whole image."""
    from pycocotools.mask import frPyObjects

    starts, stops = _runs(part, height)
    apart = starts[1:] > stops[:-1]  # runs that meet at the foot of a column are one
    starts, stops = starts[np.append(True, apart)], stops[np.append(apart, True)]
    edges = np.concatenate([[0], np.stack([starts, stops], axis=1).ravel(), [height * width]])
    encoded = frPyObjects(
        {"size": [height, width], "counts": np.diff(edges).tolist()}, height, width
    )
    return {"size": [height, width], "counts": encoded["counts"].decode()}


def _runs(part: Component, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the region's runs begin and end, column by column, in an image of this height."""
    turns = np.diff(np.pad(part.pixels.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    cell, first = np.nonzero(turns == 1)
    last = np.nonzero(turns == -1)[1]
    counts = np.bincount(cell, minlength=part.pixels.shape[1])
    runs = np.concatenate([
        np.tile(np.arange(end - count, end), times)
        for end, count, times in zip(
            np.cumsum(counts), counts, np.diff(part.columns), strict=True
        )
    ])  # fmt: skip
    column = np.repeat(
        np.arange(part.columns[0], part.columns[-1]), np.repeat(counts, np.diff(part.columns))
    ).astype(np.int64)
    return column * height + part.rows[first[runs]], column * height + part.rows[last[runs]]
