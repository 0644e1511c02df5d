"""After the last epoch: the threshold, the trust limits and the metrics of the best checkpoint."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.card import ModelCard
from wsol_deploy.datasets.base import Dataset
from wsol_deploy.evaluation import calibrate, evaluate
from wsol_deploy.evaluation.run import Predictions, open_model
from wsol_deploy.model import checkpoint


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
