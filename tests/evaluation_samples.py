"""Small pictures with known truth, for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsol_deploy.datasets.base import Sample
from wsol_deploy.evaluation import Prediction

CLASSES = ("benign", "malignant")
HEIGHT, WIDTH = 60, 80
INK = {"benign": (150, 20, 20), "malignant": (20, 20, 150)}


def blob(x: int, y: int, w: int, h: int) -> np.ndarray:
    """bool, 60 x 80: one rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def predict(scores: np.ndarray, **probs: list[float]) -> Prediction:
    """A prediction of CLASSES from scores and, by name, probability vectors."""
    vectors = {name: np.array(values, dtype=np.float32) for name, values in probs.items()}
    return Prediction(scores.astype(np.float32), 0.5, CLASSES, **vectors)


class Folder:
    """Samples whose truth masks lie in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def sample(
        self, name: str, label: int = 0, truth: np.ndarray | None = None, boxes: tuple = ()
    ) -> Sample:
        mask = None
        if truth is not None:
            mask = self.root / f"{name}_mask.png"
            Image.fromarray(truth.astype(np.uint8) * 255).save(mask)
        return Sample(name, self.root / name, label, mask, boxes)


def write_data(root: Path, count: int = 4, masks: bool = True) -> Path:
    """A CSV data set the test artifact can solve: dark blobs whose hue is the class.

    Each class has `count` test images and as many for training and validation; returns the CSV.
    """
    root.mkdir(parents=True, exist_ok=True)
    rows = ["image,label,mask,split" if masks else "image,label,split"]
    random = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for label in CLASSES:
            for number in range(count):
                name = f"{split}_{label}_{number}"
                x, y = random.integers(4, 40), random.integers(4, 26)
                truth = blob(x, y, 30, 24)
                pixels = np.full((HEIGHT, WIDTH, 3), 235, dtype=np.uint8)
                pixels[truth] = INK[label]
                Image.fromarray(pixels).save(root / f"{name}.png")
                Image.fromarray(truth.astype(np.uint8) * 255).save(root / f"{name}_mask.png")
                cells = [f"{name}.png", label, *([f"{name}_mask.png"] if masks else []), split]
                rows.append(",".join(cells))
    table = root / "data.csv"
    table.write_text("\n".join(rows) + "\n")
    return table
