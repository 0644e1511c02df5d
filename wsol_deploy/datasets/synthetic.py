"""Synthetic micrographs: two grades of colon-like glands in stained tissue, with exact masks.

The grades differ only in the outline and the texture of their glands. The tissue around them,
the stain, the lamp and the camera are drawn without knowing the grade.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from wsol_deploy.datasets import folder, glands, tissue
from wsol_deploy.datasets.base import SPLITS, Dataset
from wsol_deploy.datasets.glands import GRADES, Grade
from wsol_deploy.errors import DataError

VERSION = 3
RECORD = "synthetic.json"


def render(rng: np.random.Generator, grade: Grade, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One micrograph of one grade.

    Args:
        rng: the only source of chance.
        grade: `benign` or `malignant`.
        size: side of the image in pixels; the field of view stays the same.

    Returns:
        image: uint8, size x size x 3, RGB.
        instances: uint16, size x size, 0 is background, each gland its own number.
    """
    image, instances, _ = compose(rng, (grade,), size)
    return image, instances


def compose(
    rng: np.random.Generator, grades: Sequence[Grade], size: int
) -> tuple[np.ndarray, np.ndarray, tuple[Grade, ...]]:
    """One micrograph with glands of several grades, taking turns.

    Returns:
        image and instances as `render` gives them, and the grade of instance 1, 2, ...
    """
    canvas = tissue.blank(size)
    tissue.stroma(rng, canvas)
    placed = glands.place(rng, canvas, grades, size)
    glands.paint(rng, canvas, placed)
    instances = glands.number(canvas, placed, size)
    return tissue.develop(rng, canvas, size), instances, tuple(gland.grade for gland in placed)


def generate(
    root: Path,
    *,
    seed: int = 0,
    size: int = 256,
    train: int = 160,
    valid: int = 40,
    test: int = 80,
    workers: int = 1,
    advance: Callable[[], object] = lambda: None,
) -> Dataset:
    """Write a data set of micrographs, or take the one already there if it is the same.

    The layout is a folder per class under train, valid and test, with the masks (instance ids,
    foreground > 0) in a parallel tree `masks/`. Half of the images of each split are of each
    grade. An image depends on the seed, its split, its grade and its number alone. Masks are
    the same bytes on every machine; between processors a few pixels of the images may differ by
    one grey level.

    Args:
        root: the folder to write; it appears whole or not at all.
        seed: of everything.
        size: side of the images in pixels.
        train, valid, test: how many images.
        workers: processes that draw; the images do not depend on it.
        advance: called after each image.

    Raises:
        DataError: `root` holds something else.
    """
    root = Path(root)
    counts = dict(zip(SPLITS, (train, valid, test), strict=True))
    record = {"version": VERSION, "seed": seed, "size": size, "images": counts}
    if not _is_written(root, record):
        _refuse_foreign(root)
        aside = root.with_name(f".{root.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            _write(aside, record, workers, advance)
            shutil.rmtree(root, ignore_errors=True)
            aside.rename(root)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder.read(root)


def _is_written(root: Path, record: dict) -> bool:
    try:
        return json.loads((root / RECORD).read_text()) == record
    except (OSError, ValueError):
        return False


def _refuse_foreign(root: Path) -> None:
    if (
        root.exists()
        and not (root / RECORD).is_file()
        and (not root.is_dir() or any(root.iterdir()))
    ):
        raise DataError(f"{root}: holds something else; name a new folder for the synthetic set")


def _write(root: Path, record: dict, workers: int, advance: Callable[[], object]) -> None:
    places = [
        (order, split, index)
        for order, (split, count) in enumerate(record["images"].items())
        for index in range(count)
    ]
    draw = partial(_draw, root, record["seed"], record["size"])
    if workers > 1:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for _ in pool.map(draw, places, chunksize=4):
                advance()
    else:
        for place in places:
            draw(place)
            advance()
    (root / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def _draw(root: Path, seed: int, size: int, place: tuple[int, str, int]) -> None:
    order, split, index = place
    label = index % len(GRADES)
    rng = np.random.default_rng([seed, order, label, index])
    image, instances = render(rng, GRADES[label], size)
    name = Path(split) / GRADES[label] / f"{index:04d}.png"
    _save(root / name, image)
    _save(root / "masks" / name, instances.astype(np.uint8))


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
