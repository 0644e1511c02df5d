"""Run an artifact: `load(path) -> Predictor`, `Predictor.predict(image) -> Prediction`."""

from __future__ import annotations

from wsol_deploy.runtime.prediction import Prediction
from wsol_deploy.runtime.predictor import Predictor, load

__all__ = ["Prediction", "Predictor", "load"]
