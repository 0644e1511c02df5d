"""Evaluation to the field's definitions: metrics, baselines, calibration, the report.

`evaluate` measures an iterator of (sample, prediction); `calibrate` fits the one threshold and
the trust limits of the card on validation data. No torch, no training code.
"""

from wsol_deploy.evaluation.evaluate import evaluate
from wsol_deploy.evaluation.results import Evaluation, ImageResult, Metric
from wsol_deploy.evaluation.sheet import SheetRow, contact_sheet
from wsol_deploy.evaluation.threshold import Calibration, calibrate
from wsol_deploy.runtime.prediction import Prediction

__all__ = [
    "Calibration",
    "Evaluation",
    "ImageResult",
    "Metric",
    "Prediction",
    "SheetRow",
    "calibrate",
    "contact_sheet",
    "evaluate",
]
