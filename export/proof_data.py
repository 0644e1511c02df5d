"""The images of a proof: the run's own validation images, a folder's, or synthetic ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from wsol_deploy import images, runs
from wsol_deploy.card import ModelCard
from wsol_deploy.datasets.base import Sample
from wsol_deploy.errors import DataError, UsageError

T = TypeVar("T")
logger = logging.getLogger(__name__)
MOST = 200
SYNTHETIC, SYNTHETIC_SIZE, SEED = 6, 256, 2020


@dataclass(frozen=True, slots=True)
class Picture:
    """One image; `read` gives uint8, H x W x 3, RGB. `sample` is None without a label."""

    name: str
    read: Callable[[], np.ndarray]
    sample: Sample | None = None


@dataclass(frozen=True, slots=True)
class ProofData:
    """Images for a proof.

    Attributes:
        name: where they come from, in words.
        pictures: at least one, at most 200.
        classes: that the samples' labels index; empty without labels.
    """

    name: str
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...] = ()


def validation(card: ModelCard, model: Path, folder: Path | None) -> ProofData:
    """The validation images of a folder, or of the training, or synthetic micrographs.

    Args:
        card: of the model; its recipe says how the training's data was split.
        model: its file; its run says where that data lies.
        folder: a data set, or any folder of images.

    Raises:
        DataError: the folder has no image.
    """
    if folder is not None:
        return _labelled(card, folder, "valid") or _unlabelled(folder)
    path = runs.data_of(model)
    found = _labelled(card, path, "valid") if path else None
    if found:
        return found
    logger.info("the model's own images are not at hand: proving on synthetic micrographs")
    return _synthetic()


def held_out(card: ModelCard, model: Path, folder: Path | None) -> ProofData:
    """The test images of a folder, or of the training, or synthetic micrographs.

    Raises:
        DataError: the folder has no image.
    """
    path = folder or runs.data_of(model)
    found = _labelled(card, path, "test") if path else None
    if found:
        return found
    return _unlabelled(folder) if folder is not None else _synthetic()


def training(card: ModelCard, model: Path, folder: Path | None) -> ProofData:
    """Training images, for calibration: the run's own, or those of a folder.

    Raises:
        UsageError: the training's data is not at hand and no other is named.
    """
    for path in (runs.data_of(model), folder):
        found = _labelled(card, path, "train") if path else None
        if found:
            return found
    if folder is not None:
        return _unlabelled(folder)
    raise UsageError(
        "--int8 is calibrated on training images, and those of this model are not at hand; "
        "name a folder of such images with --proof-data"
    )


def _labelled(card: ModelCard, path: Path, subset: str) -> ProofData | None:
    """The subset of a data set whose classes the model knows, or None."""
    from wsol_deploy.evaluation.held_out import select

    try:
        chosen = select(path, card, subset=subset)
    except (DataError, UsageError) as error:
        logger.debug("%s", error)
        return None
    if not set(chosen.dataset.classes) <= set(card.classes):
        return None
    samples = spread(chosen.dataset.samples, MOST)
    pictures = tuple(Picture(sample.name, sample.read_image, sample) for sample in samples)
    return ProofData(f"{len(pictures)} of {chosen.name}", pictures, chosen.dataset.classes)


def _unlabelled(folder: Path) -> ProofData:
    files = [folder] if folder.is_file() else images.find(folder)
    if not files:
        raise DataError(f"{folder}: no image in it; name a folder of images")
    pictures = tuple(Picture(path.name, partial(images.read, path)) for path in spread(files, MOST))
    return ProofData(f"{len(pictures)} images of {folder.name}", pictures)


def _synthetic() -> ProofData:
    from wsol_deploy.datasets.synthetic import render

    rng = np.random.default_rng(SEED)
    drawn = [render(rng, grade, SYNTHETIC_SIZE)[0] for grade in ("benign", "malignant")]
    turned = [np.ascontiguousarray(np.rot90(pixels, k)) for k in range(3) for pixels in drawn]
    pictures = [Picture(f"synthetic {at}", partial(np.asarray, x)) for at, x in enumerate(turned)]
    return ProofData(f"{len(pictures)} synthetic micrographs", tuple(pictures[:SYNTHETIC]))


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """At most so many items, evenly taken."""
    if len(items) <= most:
        return items
    return [items[at * len(items) // most] for at in range(most)]
