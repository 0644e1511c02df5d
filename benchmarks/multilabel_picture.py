"""What a multi-label model finds in a few test images, beside the truth.

    python benchmarks/multilabel_picture.py MODEL OUT/images.csv PICTURE.jpg

The columns are images chosen evenly by name; the rows are the image, the truth and what is found,
each class in a colour of its own (blue, orange, green, the later one above).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import wsol_deploy
from wsol_deploy import images
from wsol_deploy.evaluation.held_out import select

COLOURS = np.array([[0, 0, 0], [40, 160, 255], [255, 120, 0], [0, 190, 90]], np.uint8)
SIDE, GAP = 200, 6


def coloured(masks: np.ndarray) -> np.ndarray:
    """c x h x w of bool as RGB."""
    numbers = np.arange(1, len(masks) + 1)[:, None, None]
    return COLOURS[(masks * numbers).max(axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--count", type=int, default=6)
    asked = parser.parse_args()
    model = wsol_deploy.load(asked.model)
    samples = sorted(select(asked.data, model.card).dataset.samples, key=lambda one: one.name)
    columns = []
    for at in np.linspace(0, len(samples) - 1, asked.count).round().astype(int):
        image, sample = samples[at].read_image(), samples[at]
        found = model.predict(image)
        masks = np.stack(
            [found.class_mask(name) & (name in found.labels) for name in found.classes]
        )
        rows = [image, coloured(sample.read_class_masks(len(masks))), coloured(masks)]
        tiles = [np.pad(images.resize(one, SIDE, SIDE), ((GAP, 0), (GAP, 0), (0, 0)),
                        constant_values=255) for one in rows]  # fmt: skip
        columns.append(np.concatenate(tiles))
    Image.fromarray(np.concatenate(columns, axis=1)).save(asked.picture, quality=90)


if __name__ == "__main__":
    main()
