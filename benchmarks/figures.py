"""A line of figures: a model on the test images, at the threshold its validation masks ask for."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.evaluation import calibrate, evaluate
from wsol_deploy.evaluation.held_out import select
from wsol_deploy.evaluation.run import Predictions, open_model
from wsol_deploy.runtime.predictor import Predictor

WIDTH = 14
FIGURES = ("error", "f1_plus", "f1_minus", "pxap", "max_box_acc_v2", "top1_loc")
HEAD = f"{'%':<26} {' '.join(f'{name:>{WIDTH}}' for name in FIGURES)}"


def line(name: str, model: Path | Predictor, data: Path, subset: str = "test") -> str:
    """The figures in percent; those that the images' truth has nothing for are left out.

    Both subsets, the one measured and the validation images, are those of the training.
    """
    predictor = open_model(model, "cpu") if isinstance(model, Path) else model
    valid, found = (
        Predictions(predictor, select(data, predictor.card, subset=one).dataset.samples)
        for one in ("valid", subset)
    )
    values = evaluate(found, predictor.card.classes, calibrate(valid).threshold.value).values
    percent = (f"{100 * values[one]:.1f}" if one in values else "-" for one in FIGURES)
    return f"{name:<26} {' '.join(f'{value:>{WIDTH}}' for value in percent)}"
