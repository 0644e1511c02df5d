"""A folder per class, with an optional train/valid/test level, masks and boxes.

Masks: NAME_mask.png or NAME_anno.png beside NAME.jpg, or the same path below masks/ at the root
(NAME.png or NAME.jpg.png). Boxes: boxes.csv at the root.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from wsol_deploy import images
from wsol_deploy.batch.journal import NAME as JOURNAL
from wsol_deploy.datasets import building
from wsol_deploy.datasets.base import Dataset, Split
from wsol_deploy.datasets.building import SPLIT_NAMES, Found
from wsol_deploy.errors import DataError

MASK_TREE = "masks"
MASK_ENDINGS = ("_mask", "_anno")
BOX_TABLE = "boxes.csv"
CORNERS = ("x0", "y0", "x1", "y1")


def matches(path: Path) -> bool:
    """Whether this is a folder with images in its subfolders."""
    return path.is_dir() and any(_has_images(folder) for folder in _folders(path))


def read(path: Path, *, group_column: str | None = None) -> Dataset:
    """Read a folder per class.

    Args:
        path: the folder of the class folders, or of train/, valid/ and test/.
        group_column: not possible here.

    Raises:
        DataError: a class without images, a box of an unknown image, or masks of a model.
    """
    building.no_groups(path, group_column)
    masks = _mask_tree(path / MASK_TREE)
    boxes = _boxes(path / BOX_TABLE)
    found = []
    for folder, split in _class_folders(path):
        for image, beside in _images_and_masks(folder):
            name = image.relative_to(path).as_posix()
            mask = beside or masks.get(name) or masks.get(name.removesuffix(image.suffix))
            own = tuple(box for label, box in boxes.pop(name, []) if label == folder.name)
            found.append(Found(name, image, folder.name, mask, own, split=split))
    if boxes:
        raise DataError(f"{path / BOX_TABLE}: no image {next(iter(boxes))}; remove its lines")
    return building.build(path.resolve().name, path, found)


def _folders(path: Path) -> list[Path]:
    """Visible subfolders, the mask tree left out."""
    return sorted(
        child
        for child in path.iterdir()
        if child.is_dir() and not child.name.startswith(".") and child.name != MASK_TREE
    )


def _class_folders(root: Path) -> Iterator[tuple[Path, Split | None]]:
    folders = _folders(root)
    levels = [folder for folder in folders if _is_level(folder)]
    for place in (root, *levels):
        _refuse_predictions(place)
    if not levels:
        yield from ((_filled(folder), None) for folder in folders)
        return
    for stray in (folder for folder in folders if folder not in levels and _has_images(folder)):
        raise DataError(
            f"{stray}: a folder of images beside {levels[0].name}/; expected only train/, valid/ "
            "and test/ there"
        )
    for level in levels:
        split = SPLIT_NAMES[level.name.lower()]
        yield from ((_filled(folder), split) for folder in _folders(level))


def _is_level(folder: Path) -> bool:
    """Whether the folder is a split: named like one, and its images lie in class folders."""
    if folder.name.lower() not in SPLIT_NAMES:
        return False
    return not any(images.is_image(file) for file in folder.iterdir()) and bool(_folders(folder))


def _has_images(folder: Path) -> bool:
    return any(images.is_image(file) for file in folder.rglob("*"))


def _refuse_predictions(folder: Path) -> None:
    if (folder / JOURNAL).is_file():
        raise DataError(
            f"{folder}: wsol predict has written into it, and a model's masks are no truth; move "
            f"{JOURNAL} and the folders it wrote, such as {MASK_TREE}/, out of the data set"
        )


def _filled(folder: Path) -> Path:
    _refuse_predictions(folder)
    if not _has_images(folder):
        raise DataError(
            f"{folder}: no images in it; every folder there is a class: add images or remove it"
        )
    return folder


def _images_and_masks(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    files = images.find(folder)
    stems = {file.with_suffix("") for file in files}
    masks = {}
    for file in files:
        for ending in MASK_ENDINGS:
            owner = file.with_name(file.stem.removesuffix(ending))
            if file.stem.endswith(ending) and owner in stems:
                masks[owner] = file
    truths = set(masks.values())
    yield from ((file, masks.get(file.with_suffix(""))) for file in files if file not in truths)


def _mask_tree(root: Path) -> dict[str, Path]:
    """Masks by their path below the root, without their suffix."""
    if not root.is_dir():
        return {}
    return {file.relative_to(root).with_suffix("").as_posix(): file for file in images.find(root)}


def _boxes(path: Path) -> dict[str, list[tuple[str, tuple[float, float, float, float]]]]:
    """Labelled boxes by image name."""
    boxes = defaultdict(list)
    for line, row in building.rows(path) if path.is_file() else ():
        try:
            x0, y0, x1, y1 = (float(row[corner]) for corner in CORNERS)
            boxes[row["image"]].append((row["label"], (x0, y0, x1, y1)))
        except (KeyError, ValueError) as error:
            raise DataError(
                f"{path}, line {line}: expected the columns image, label, {', '.join(CORNERS)}, "
                "named in line 1, corners in pixels"
            ) from error
    return dict(boxes)
