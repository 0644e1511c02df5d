"""Masks: checked before a training; after it the best checkpoint is fitted to validation's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsol_deploy import images
from wsol_deploy.card import ModelCard
from wsol_deploy.datasets.base import Dataset, Sample
from wsol_deploy.errors import DataError
from wsol_deploy.evaluation import calibrate, evaluate
from wsol_deploy.evaluation.run import Predictions, open_model
from wsol_deploy.model import checkpoint
from wsol_deploy.train.methods import SUPERVISED


def check_masks(dataset: Dataset, method: str) -> None:
    """Refuse before the training what would stop it, or the calibration after it.

    Raises:
        DataError: a mask is of another size than its image, or a supervised method lacks one.
        ImageError: an image or a mask cannot be read.
    """
    samples = dataset.subset("valid").samples
    if method in SUPERVISED:
        samples = dataset.subset("train").samples + samples
        _check_all_have_masks(samples, method, dataset.root)
    for sample in samples:
        if sample.mask is not None and images.size(sample.mask) != images.size(sample.image):
            raise DataError(
                f"{sample.mask}: is of another size than its image {sample.name}; scale it to the "
                "image's size, or take it away: training needs no masks"
            )


def _check_all_have_masks(samples: Sequence[Sample], method: str, root: Path) -> None:
    without = [sample.name for sample in samples if sample.mask is None]
    if without:
        raise DataError(
            f"{root}: {method} learns from masks, and {len(without)} of the {len(samples)} "
            f"training and validation images have none, the first {without[0]}; add them (a folder "
            "masks beside the classes, a CSV column mask) or train another --method, which needs "
            "none"
        )


def calibrate_checkpoint(path: Path, dataset: Dataset, device: str) -> ModelCard:
    """Fit the card on the validation images and write it into the checkpoint.

    Args:
        path: of the checkpoint; rewritten with the same weights.
        dataset: with a validation split; without one the checkpoint is left as it is.
        device: `cpu` or `cuda:N`.

    Returns:
        the card as written.

    Raises:
        ArtifactError: the checkpoint cannot be loaded.
        DataError: a truth mask does not fit its image.
    """
    network, card = checkpoint.load(path)
    valid = dataset.subset("valid")
    if not valid:
        return card
    predictions = Predictions(open_model(path, device), valid.samples)
    fitted = calibrate(predictions, f"{dataset.name}, validation")
    evaluation = evaluate(predictions, dataset.classes, fitted.threshold.value)
    measured = evaluation.measured(dataset.name, "valid")
    update = {"threshold": fitted.threshold, "trust": fitted.trust, "metrics": [measured]}
    return checkpoint.save(path, network, card.model_copy(update=update))
