"""Images that show several classes, to train and judge multi-label models on.

    python benchmarks/multilabel.py micrographs OUT
    python benchmarks/multilabel.py collages PHOTOS OUT
    wsol train OUT/images.csv --recipe quickstart -o RUN
    wsol evaluate OUT/images.csv -m RUN

`micrographs` draws glands of one grade or of both in one field (the built-in generator).
`collages` lays four photos of one to three classes in a square; the truth of each class is its
boxes. Either writes images, masks whose values are 1 + the number of the class, and images.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from wsol_deploy import images
from wsol_deploy.card import SEPARATOR
from wsol_deploy.datasets import Dataset, Sample, open_dataset
from wsol_deploy.datasets.base import SPLITS
from wsol_deploy.datasets.glands import GRADES
from wsol_deploy.datasets.synthetic import compose

SIZE = 320
CELL = SIZE // 2
Composed = tuple[np.ndarray, np.ndarray, list[str]]


def micrograph(rng: np.random.Generator) -> Composed:
    """Image, mask by class, and the classes seen: benign, malignant, or both."""
    chosen = (GRADES[:1], GRADES[1:], GRADES)[rng.integers(3)]
    image, instances, grades = compose(rng, chosen, SIZE)
    values = np.array([0, *(1 + GRADES.index(grade) for grade in grades)], dtype=np.uint8)
    mask = values[instances]
    return image, mask, [GRADES[value - 1] for value in np.unique(mask) if value]


def collage(rng: np.random.Generator, photos: Dataset) -> Composed:
    """Image, mask by class, and the classes of four photos in a square."""
    classes = photos.classes
    chosen = rng.permutation(len(classes))[: rng.integers(1, len(classes) + 1)]
    cells = [int(chosen[at % len(chosen)]) for at in rng.permutation(4)]
    picked = [_any(rng, photos, label) for label in cells]
    pieces = [_piece(sample) for sample in picked]
    image = _square([piece[0] for piece in pieces])
    return image, _square([piece[1] for piece in pieces]), sorted({classes[one] for one in cells})


def _any(rng: np.random.Generator, photos: Dataset, label: int) -> Sample:
    own = [sample for sample in photos.samples if sample.label == label]
    return own[rng.integers(len(own))]


def _piece(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """A square around the middle of the first box, and the boxes in it as 1 + the class."""
    image = sample.read_image()
    mask = np.zeros(image.shape[:2], np.uint8)
    for x0, y0, x1, y1 in sample.boxes:
        mask[round(y0) : round(y1), round(x0) : round(x1)] = 1 + sample.label
    side = min(mask.shape)
    x0, y0, x1, y1 = sample.boxes[0]
    top, left = (
        int(np.clip(middle - side / 2, 0, room - side))
        for middle, room in zip(((y0 + y1) / 2, (x0 + x1) / 2), mask.shape, strict=True)
    )
    window = (slice(top, top + side), slice(left, left + side))
    small = Image.fromarray(mask[window]).resize((CELL, CELL), Image.Resampling.NEAREST)
    return images.resize(np.ascontiguousarray(image[window]), CELL, CELL), np.asarray(small)


def _square(four: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.concatenate(four[:2], axis=1), np.concatenate(four[2:], axis=1)])


def write(out: Path, composed: Iterator[tuple[str, Composed]]) -> None:
    """Images, masks and the list of them."""
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with (out / "images.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "label", "mask", "split"])
        for number, (split, (image, mask, names)) in enumerate(composed):
            name = f"{number:05d}.png"
            Image.fromarray(image).save(out / "images" / name, compress_level=1)
            Image.fromarray(mask).save(out / "masks" / name)
            table.writerow([f"images/{name}", SEPARATOR.join(names), f"masks/{name}", split])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("micrographs", "collages"))
    parser.add_argument("paths", nargs="+", type=Path, metavar="[PHOTOS] OUT")
    parser.add_argument("--counts", nargs=3, type=int, default=(256, 48, 64), metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    *photos, out = asked.paths
    if len(photos) != (asked.kind == "collages"):
        parser.error("micrographs OUT, or collages PHOTOS OUT")
    whole = open_dataset(photos[0], split="hash") if photos else None

    def composed() -> Iterator[tuple[str, Composed]]:
        for order, (split, count) in enumerate(zip(SPLITS, asked.counts, strict=True)):
            own = whole.subset(split) if whole else None
            for number in range(count):
                rng = np.random.default_rng([asked.seed, order, number])
                yield split, micrograph(rng) if own is None else collage(rng, own)

    write(out, composed())


if __name__ == "__main__":
    main()
