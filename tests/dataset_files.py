"""Small data sets on disk for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    return path


def truth(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(path)
    return path


def class_folders(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 5) -> Path:
    for label in classes:
        for index in range(count):
            picture(root / label / f"{index}.png")
    return root


def by_name(dataset):
    return {sample.name: sample for sample in dataset.samples}
