"""One pass over (sample, prediction) pairs gives every metric, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from wsol_deploy.datasets.base import Sample
from wsol_deploy.errors import DataError
from wsol_deploy.evaluation.baselines import BASELINES
from wsol_deploy.evaluation.bootstrap import Sums, interval
from wsol_deploy.evaluation.boxes import localisation
from wsol_deploy.evaluation.classification import auroc
from wsol_deploy.evaluation.measure import measure
from wsol_deploy.evaluation.metrics import DEFINITIONS, compute
from wsol_deploy.evaluation.results import Evaluation, ImageResult, Metric
from wsol_deploy.runtime.prediction import Prediction

MAJORITY = "majority class"


def evaluate(
    predictions: Iterable[tuple[Sample, Prediction]],
    classes: Sequence[str],
    threshold: float,
    *,
    copies: int = 0,
    seed: int = 0,
) -> Evaluation:
    """Measure predictions against labels, truth masks and truth boxes.

    What the samples lack is left out and said in the notes. Samples with masks and no boxes are
    given the boxes of their masks' connected regions. Images are dropped as soon as measured:
    memory holds one small result for each.

    Args:
        predictions: each sample with what the model says of it, at the image's size.
        classes: names that the samples' labels index.
        threshold: of the soft mask, in [0, 1]; a pixel is foreground if its score is above.
        copies: resampled copies for the 95 % intervals; 0 for no intervals.
        seed: of the resampling.

    Raises:
        DataError: nothing to evaluate, a class the model does not know, a mask of another size
            than its image, a broken score map, or masks without any foreground.
        ImageError: a truth mask cannot be read.
    """
    model, constants = Sums(copies, seed), {name: Sums() for name in BASELINES}
    known: tuple[str, ...] = ()
    images: list[ImageResult] = []
    derived = localizer = 0
    for sample, prediction in predictions:
        known = known or _known_classes(classes, prediction)
        labels = [classes[index] for index in sample.labels]
        found = measure(sample, prediction, labels, threshold)
        model.add(found.model)
        for name, statistics in found.constants.items():
            constants[name].add(statistics)
        images.append(found.result)
        derived += found.derived_boxes
        localizer += prediction.probs is None and prediction.localizer_probs is not None
    if not images:
        raise DataError("no images to evaluate; choose another subset or check the data's split")
    metrics = _metrics(model, images, known)
    return Evaluation(
        classes=known,
        threshold=threshold,
        images=tuple(images),
        metrics=metrics,
        baselines=_baselines(constants, images, "auroc" in metrics),
        curves=model["curves"][0] / model["masked"][0] if "curves" in model else None,
        histogram=model["histogram"][0].astype(np.int64) if "histogram" in model else None,
        notes=tuple(_notes(images, derived, localizer)),
    )


def _known_classes(classes: Sequence[str], prediction: Prediction) -> tuple[str, ...]:
    unknown = [name for name in classes if name not in prediction.classes]
    if unknown:
        raise DataError(
            f"the data has classes the model does not know: {', '.join(unknown)}; "
            f"it knows {', '.join(prediction.classes)}"
        )
    return prediction.classes


def _metrics(
    model: Sums, images: Sequence[ImageResult], classes: tuple[str, ...]
) -> dict[str, Metric]:
    found = {}
    for name, rows in compute(model).items():
        low, high = interval(rows[1:]) or (None, None)
        found[name] = Metric(float(rows[0]), low, high, int(model[DEFINITIONS[name].images][0]))
    labelled = [result for result in images if result.rank is not None]
    if len(classes) == 2 and len({result.label for result in labelled}) == 2:
        found["auroc"] = Metric(_auroc(labelled, classes[1]), None, None, len(labelled))
    return {name: found[name] for name in DEFINITIONS if name in found}


def _auroc(images: Sequence[ImageResult], second: str) -> float:
    positive = np.array([result.label == second for result in images])
    own = np.array([result.label_probability for result in images], dtype=np.float64)
    return auroc(np.where(positive, own, 1 - own).round(6), positive)


def _baselines(
    constants: dict[str, Sums], images: Sequence[ImageResult], has_auroc: bool
) -> dict[str, dict[str, float]]:
    """The constant masks, and the commonest class; for Top-1 localisation both together."""
    labels = Counter(result.label for result in images if result.rank is not None)
    commonest = max(labels, key=labels.__getitem__, default=None)
    rows: dict[str, dict[str, float]] = {}
    for name, sums in constants.items():
        values = {metric: float(found[0]) for metric, found in compute(sums).items()}
        if f"hits {commonest}" in sums:
            top1 = localisation(sums["hits"], sums[f"hits {commonest}"], sums["boxed"])
            values["top1_loc"] = float(top1[0])
        if values:
            rows[name] = values
    if commonest is not None:
        rows[MAJORITY] = {"error": 1 - labels[commonest] / labels.total()}
        rows[MAJORITY] |= {"auroc": 0.5} if has_auroc else {}
    return rows


def _notes(images: Sequence[ImageResult], derived: int, localizer: int) -> Iterable[str]:
    masked = sum(result.iou is not None for result in images)
    boxed = sum(result.box_iou is not None for result in images)
    labelled = sum(result.label_error is not None for result in images)
    total = len(images)
    if not labelled:
        yield "the model gives no class probabilities: classification is left out"
    if localizer:
        yield "the model has no classifier's posterior: labels are the localizer's"
    if not masked and not boxed:
        yield "no truth masks and no truth boxes: classification only"
    elif not masked:
        yield "no truth masks: F1+, F1-, IoU and PxAP are left out"
    elif not boxed:
        yield "no truth boxes and none from the masks: box metrics are left out"
    if 0 < masked < total:
        yield f"pixel metrics are over the {masked} of {total} images with a truth mask"
    if 0 < boxed < total:
        yield f"box metrics are over the {boxed} of {total} images with a truth box"
    if derived:
        yield f"{derived} images have no truth boxes: the boxes of their masks' regions are used"
