"""A line of figures: a model on the test images, at the threshold its validation masks ask for."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.datasets import Dataset
from wsol_deploy.evaluation import calibrate, evaluate
from wsol_deploy.evaluation.run import Predictions, open_model
from wsol_deploy.runtime.predictor import Predictor

WIDTH = 14
FIGURES = ("error", "f1_plus", "f1_minus", "pxap", "max_box_acc_v2", "top1_loc")
HEAD = f"{'%':<26} {' '.join(f'{name:>{WIDTH}}' for name in FIGURES)}"


def line(name: str, model: Path | Predictor, dataset: Dataset) -> str:
    """The figures in percent; those that the test images' truth has nothing for are left out."""
    predictor = open_model(model, "cpu") if isinstance(model, Path) else model
    valid, test = (Predictions(predictor, dataset.subset(s).samples) for s in ("valid", "test"))
    values = evaluate(test, dataset.classes, calibrate(valid).threshold.value).values
    cells = (
        f"{100 * values[name]:>{WIDTH}.1f}" if name in values else f"{'-':>{WIDTH}}"
        for name in FIGURES
    )
    return f"{name:<26} {' '.join(cells)}"
