"""Measure a trained run on the test images, and keep its masks of the images that are shown."""

from __future__ import annotations

import csv
import json
import os
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy.datasets.base import Dataset, Sample
from wsol_deploy.errors import DataError
from wsol_deploy.evaluation import Prediction, evaluate
from wsol_deploy.evaluation.held_out import select
from wsol_deploy.evaluation.results import write_csv
from wsol_deploy.evaluation.run import Predictions, open_model
from wsol_deploy.files import write_whole
from wsol_deploy.reproduce.jobs import RESULT, Job
from wsol_deploy.runs import BEST
from wsol_deploy.train.logs import METRICS, TAUGHT_METRICS

IMAGES, MASKS = "images.csv", "masks.npz"
COPIES = 1000


def measure(job: Job, data: Path, shown: Iterable[str], device: str) -> None:
    """Evaluate a job's best checkpoint as `wsol evaluate` does.

    Writes evaluation.json (every metric, threshold, training times), images.csv (a row for each
    image) and masks.npz (float16 soft masks of the shown images, by name) into the run's folder.

    Args:
        job: trained.
        data: it was trained on.
        shown: names of test images whose masks are kept.
        device: auto, cpu or cuda.

    Raises:
        DataError: an image or its truth cannot be used.
        ArtifactError: the checkpoint cannot be loaded.
    """
    predictor = open_model(job.folder / BEST, device)
    chosen = select(data, predictor.card)
    if chosen.warning:
        raise DataError(f"{job.folder}: {chosen.warning}")
    predictions = Predictions(predictor, chosen.dataset.samples)
    kept: dict[str, Any] = {}
    evaluation = evaluate(
        _keep(predictions, set(shown), kept),
        chosen.dataset.classes,
        predictor.card.threshold.value,
        copies=COPIES,
    )
    if predictions.failed:
        raise DataError(
            f"{len(predictions.failed)} of {len(predictions)} test images cannot be used, the "
            f"first: {predictions.failed[0]}"
        )
    write_csv(evaluation, job.folder / IMAGES)
    np.savez_compressed(job.folder / MASKS, **kept)
    document = {
        "dataset": chosen.dataset.name,
        "data_sha256": predictor.card.data.sha256,
        "threshold_chosen_on": predictor.card.threshold.chosen_on,
        "machine": machine(predictor.device),
        **training_time(job.folder),
        **evaluation.as_dict(),
    }
    write_whole(job.folder / RESULT, json.dumps(document, indent=2, ensure_ascii=False).encode())


def training_time(run: Path) -> dict[str, Any]:
    """Epochs, minutes in all, self-training too, median seconds of an epoch and passes an image in
    the last one, from the tables of a run."""
    rows, rounds = _rows(run / METRICS), _rows(run / TAUGHT_METRICS)
    if not rows:
        return {}
    seconds = [float(row["seconds"]) for row in rows]
    return {
        "epochs": len(seconds),
        "minutes": (sum(seconds) + sum(float(row["seconds"]) for row in rounds)) / 60,
        "epoch_seconds": statistics.median(seconds),
        "passes": float(rows[-1]["train_passes"]),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def machine(device: str) -> str:
    """What a device is, for the tables of times."""
    if not device.startswith("cuda"):
        return f"CPU, {os.cpu_count()} cores"
    import torch

    return torch.cuda.get_device_name(device)


def choose_shown(dataset: Dataset, images: int = 6) -> list[Sample]:
    """Images to show, chosen without looking: evenly over the sorted names of each class, and of
    more classes than images evenly over these."""
    classes = min(images, len(dataset.classes))
    each = images // classes
    shown = []
    for label in np.linspace(0, len(dataset.classes) - 1, classes).round().astype(int):
        own = sorted((one for one in dataset.samples if one.label == label), key=lambda o: o.name)
        count = min(each, len(own))
        shown += [own[int((place + 0.5) * len(own) / count)] for place in range(count)]
    return shown


def check_truth(test: Dataset, truth: str) -> None:
    """Refuse before any training what the tables could not be measured on.

    Raises:
        DataError: a test image has no truth of the kind the plan needs.
    """
    mends = {
        "masks": "F1+ and F1- need a truth mask for every test image",
        "boxes": "MaxBoxAcc needs boxes for every test image: put boxes.csv "
        "(image,label,x0,y0,x1,y1) beside the class folders",
    }
    for sample in test.samples:
        if sample.mask is None and (truth == "masks" or not sample.boxes):
            raise DataError(
                f"{test.root}: the test image {sample.name} has no {truth}; {mends[truth]}"
            )


def _keep(
    predictions: Iterable[tuple[Sample, Prediction]],
    names: set[str],
    kept: dict[str, np.ndarray],
) -> Iterator[tuple[Sample, Prediction]]:
    for sample, prediction in predictions:
        if sample.name in names:
            kept[sample.name] = prediction.probability.astype(np.float16)
        yield sample, prediction
