"""`yolo`: yolo/{data.yaml,images,labels}, a segmentation set to train on, images as links.

YOLO pairs image and label by the name without its extension, so an image keeps its whole name
and gets its extension once more: a.jpg and a.png become a.jpg.jpg and a.png.png.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.page import Page, categories
from wsol_deploy.batch.writers.base import LABEL, Entries
from wsol_deploy.card import ModelCard


class YoloWriter:
    outputs = LABEL
    needs_image = False

    def files(self, page: Page) -> Iterator[tuple[str, bytes | Path]]:
        prediction = page.prediction
        size = np.array([page.width, page.height])
        lines = []
        for part in prediction.components:
            index = prediction.classes.index(page.label_of(part)) if prediction.label else 0
            points = (part.polygon.simplified().keyhole() / size).ravel()
            lines.append(" ".join([str(index), *(f"{value:.6f}" for value in points)]))
        yield f"yolo/labels/{page.name}.txt", "".join(f"{line}\n" for line in lines).encode()
        suffix = PurePosixPath(page.name).suffix
        yield f"yolo/images/{page.name}{suffix}", page.path.absolute()


class YoloNames:
    outputs = LABEL
    section = "files"

    def collect(self, entries: Entries, folder: Folder, card: ModelCard) -> None:
        lines = ["path: .", "train: images", "val: images", "names:"]
        lines += [f"  {index}: {json.dumps(name)}" for index, name in enumerate(categories(card))]
        folder.write("yolo/data.yaml", "".join(f"{line}\n" for line in lines).encode())
