"""CUB-200-2011 as published: images.txt and its companions, images/ and segmentations/."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.datasets import building
from wsol_deploy.datasets.base import Dataset
from wsol_deploy.datasets.building import Boxes, Found
from wsol_deploy.errors import DataError

NAME = "CUB-200-2011"
FOLDER = "CUB_200_2011"
IMAGES, LABELS, CLASSES = "images.txt", "image_class_labels.txt", "classes.txt"
SPLIT, BOXES = "train_test_split.txt", "bounding_boxes.txt"
MASKS = "segmentations"


def matches(path: Path) -> bool:
    """Whether this folder, or CUB_200_2011 in it, has images.txt."""
    return _locate(path) is not None


def read(path: Path, *, group_column: str | None = None) -> Dataset:
    """Read CUB-200-2011; masks are taken from segmentations/ inside or beside the folder.

    Args:
        path: CUB_200_2011, or the folder that contains it.
        group_column: not possible here.

    Raises:
        DataError: a file or a line is missing or broken.
    """
    building.no_groups(path, group_column)
    root = _locate(path)
    if root is None:
        raise DataError(f"{path}: no {IMAGES}")
    labels, classes = _lines(root / LABELS), _lines(root / CLASSES)
    official, boxes = _lines(root / SPLIT), _boxes(root / BOXES)
    masks = next((base / MASKS for base in (root, root.parent) if (base / MASKS).is_dir()), None)
    found = []
    for number, name in _lines(root / IMAGES).items():
        image = root / "images" / name
        if not image.is_file():
            raise DataError(f"{root / IMAGES}: image {number} is not there: {image}")
        label = classes.get(labels.get(number, ""))
        if label is None:
            raise DataError(f"{root / LABELS}: no class for image {number} ({name})")
        if number not in official:
            raise DataError(f"{root / SPLIT}: no line for image {number} ({name})")
        mask = masks / Path(name).with_suffix(".png") if masks else None
        found.append(
            Found(
                name=name,
                image=image,
                label=label,
                mask=mask if mask and mask.is_file() else None,
                boxes=boxes.get(number, ()),
                split="train" if official[number] == "1" else "test",
            )
        )
    return building.build(NAME, root, found)


def _locate(path: Path) -> Path | None:
    for root in (path, path / FOLDER):
        if (root / IMAGES).is_file() and (root / LABELS).is_file():
            return root
    return None


def _lines(path: Path) -> dict[str, str]:
    """A file of `number value` lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read; CUB-200-2011 comes with it") from error
    pairs: dict[str, str] = {}
    for count, line in enumerate(text.splitlines(), start=1):
        number, _, value = line.strip().partition(" ")
        if not value:
            if line.strip():
                raise DataError(f"{path}, line {count}: expected a number and a value: {line!r}")
            continue
        pairs[number] = value.strip()
    return pairs


def _boxes(path: Path) -> dict[str, Boxes]:
    boxes: dict[str, Boxes] = {}
    for number, values in (_lines(path) if path.is_file() else {}).items():
        try:
            x, y, width, height = (float(value) for value in values.split())
        except ValueError as error:
            raise DataError(f"{path}: the box of image {number} is not x y width height") from error
        boxes[number] = ((x, y, x + width, y + height),)
    return boxes
