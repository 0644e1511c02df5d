"""Predict every image of the sources and write what was asked for."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np

from wsol_deploy.batch.sources import Sources
from wsol_deploy.errors import ImageError
from wsol_deploy.runtime import Prediction, Predictor

logger = logging.getLogger(__name__)


def run(
    predictor: Predictor,
    sources: Sources,
    output: Path,
    *,
    threshold: float | None = None,
    overwrite: bool = False,
) -> tuple[int, int]:
    """Write masks and results.jsonl; (images done, images failed)."""
    output.mkdir(parents=True, exist_ok=True)
    table = output / "results.jsonl"
    rows = {} if overwrite or not table.exists() else _rows(table)
    failed = 0
    for item in sources:
        target = output / "masks" / f"{item.name}.png"
        if item.name in rows and target.exists():
            continue
        try:
            prediction = predictor.predict(item.path, threshold=threshold)
        except ImageError as error:
            logger.error("%s", error)
            failed += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _, encoded = cv2.imencode(".png", prediction.mask.astype(np.uint8) * 255)
        target.write_bytes(encoded.tobytes())
        rows[item.name] = _row(item.name, prediction)
    table.write_text("".join(json.dumps(rows[name]) + "\n" for name in sorted(rows)))
    return len(rows), failed


def _rows(table: Path) -> dict[str, dict]:
    rows = map(json.loads, table.read_text().splitlines())
    return {row["image"]: row for row in rows}


def _row(name: str, prediction: Prediction) -> dict:
    probs = None if prediction.probs is None else prediction.probs.tolist()
    return {
        "image": name,
        "label": prediction.label,
        "probabilities": None
        if probs is None
        else dict(zip(prediction.classes, probs, strict=True)),
        "foreground_fraction": prediction.foreground_fraction,
    }
