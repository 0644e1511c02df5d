"""Pictures to begin with: a folder of the user's, or synthetic micrographs drawn on the spot."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from wsol_deploy import images
from wsol_deploy.card import ModelCard
from wsol_deploy.datasets.folder import MASK_ENDINGS
from wsol_deploy.demo import views
from wsol_deploy.demo.uploads import Limits, read_picture
from wsol_deploy.errors import DataError, ImageError

MOST = 8
SIZE = 320  # as in the quickstart, so that its model meets the scale it knows
SEEDS = (11, 23)
THUMBNAIL = 160


@dataclass(frozen=True, eq=False)
class Example:
    """A picture that can be clicked.

    Attributes:
        name: of the file.
        caption: what it is, for people.
        path: of the picture.
        truth: of its mask, or None.
    """

    name: str
    caption: str
    path: Path
    truth: Path | None = None


def gather(folder: Path | None, card: ModelCard, temporary: Path, limits: Limits) -> list[Example]:
    """The examples to offer.

    Args:
        folder: of pictures, or None for the built-in ones.
        card: of the page's model: the built-in ones suit a model with their classes only.
        temporary: where the built-in ones are drawn.
        limits: larger pictures are passed over.

    Raises:
        DataError: the folder is none, or holds no usable picture.
    """
    if folder is not None:
        return _of_folder(folder, limits)
    from wsol_deploy.datasets.glands import GRADES

    return _built_in(temporary) if set(card.classes) == set(GRADES) else []


def gallery(examples: list[Example]) -> str:
    """The examples as buttons with small pictures in them."""
    return "".join(
        f'<button type="button" data-index="{index}" title="{escape(example.caption)}">'
        f'<img src="{_thumbnail(example.path)}" alt="" loading="lazy">'
        f"<span>{escape(example.caption)}</span></button>"
        for index, example in enumerate(examples)
    )


def _of_folder(folder: Path, limits: Limits) -> list[Example]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of examples")
    pictures = list(images.find(folder))
    truths = {path.stem: path for path in pictures if path.stem.endswith(MASK_ENDINGS)}
    found = []
    for path in pictures:
        if path.stem in truths:
            continue
        try:
            read_picture(path, limits)
        except ImageError:
            continue
        endings = (truths.get(path.stem + ending) for ending in MASK_ENDINGS)
        found.append(Example(path.name, path.stem, path, next(filter(None, endings), None)))
        if len(found) == MOST:
            break
    if not found:
        raise DataError(f"{folder}: no picture in it that the page can show")
    return found


def _built_in(temporary: Path) -> list[Example]:
    from wsol_deploy.datasets import synthetic
    from wsol_deploy.datasets.glands import GRADES

    temporary.mkdir(parents=True, exist_ok=True)
    found = []
    for number, seed in enumerate(SEEDS, 1):
        for grade in GRADES:
            image, instances = synthetic.render(np.random.default_rng(seed), grade, SIZE)
            path = temporary / f"synthetic-{grade}-{number}.png"
            truth = path.with_name(f"{path.stem}-truth.png")
            path.write_bytes(views.png(image))
            cv2.imwrite(str(truth), (instances > 0).astype(np.uint8) * 255)
            found.append(Example(path.name, f"synthetic, {grade}", path, truth))
    return found


def _thumbnail(path: Path) -> str:
    image = images.read(path)
    scale = THUMBNAIL / min(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = cv2.cvtColor(images.resize(image, height, width), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
