"""The parts of the report that are numbers: each takes an evaluation and gives markup."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from wsol_deploy.evaluation.charts import Line, Mark, line_chart, strip
from wsol_deploy.evaluation.markup import (
    columns,
    confusion,
    definitions,
    folded,
    percent,
    section,
    table,
)
from wsol_deploy.evaluation.metrics import DEFINITIONS
from wsol_deploy.evaluation.pixels import THRESHOLDS, precision_recall
from wsol_deploy.evaluation.results import Evaluation, ImageResult, Metric

LISTED = 200
WITH_MASKS = ("f1_plus", "f1_minus", "pxap", "error")
WITHOUT_MASKS = ("max_box_acc", "top1_loc", "error")
CONSTANTS = (
    ("all-ones", "A mask that is foreground everywhere."),
    ("centre-box", "A centred box of the image's shape with half its area."),
    (
        "majority class",
        "The commonest true class for every image; in Top-1 localisation the other constant rows "
        "have it too. The AUROC of any constant is 50.",
    ),
)
PER_CLASS = {
    "error": "error",
    "f1_plus": "F1+",
    "f1_minus": "F1-",
    "iou": "IoU",
    "box_acc": "BoxAcc",
}
PER_IMAGE = {
    "label": "label",
    "predicted": "predicted",
    "label_probability": "p(label)",
    "f1_plus": "F1+",
    "f1_minus": "F1-",
    "iou": "IoU",
    "box_iou": "box IoU",
    "flagged": "flagged",
}


def headline(evaluation: Evaluation) -> str:
    """The first numbers to read, each with its best constant row, marked where that is better."""
    names = WITH_MASKS if "f1_plus" in evaluation.metrics else WITHOUT_MASKS
    cards = [_card(evaluation, name) for name in names if name in evaluation.metrics]
    return f'<ul class="cards">{"".join(cards)}</ul>'


def _card(evaluation: Evaluation, name: str) -> str:
    value, definition = evaluation.metrics[name].value, DEFINITIONS[name]
    row, constant = _best_constant(evaluation, name) or ("", value)
    beaten = constant < value if definition.lower_is_better else constant > value
    style = ' class="bad" title="a constant row is better"' if beaten else ""
    under = f"<small>{escape(row)} {percent(constant)}</small>" if row else ""
    return (
        f"<li><span>{escape(definition.title)}</span>"
        f"<b{style}>{percent(value)}<i>%</i></b>{under}</li>"
    )


def _best_constant(evaluation: Evaluation, name: str) -> tuple[str, float] | None:
    known = [(row, values[name]) for row, values in evaluation.baselines.items() if name in values]
    choice = min if DEFINITIONS[name].lower_is_better else max
    return choice(known, key=lambda item: item[1]) if known else None


def numbers(evaluation: Evaluation) -> str:
    """Every metric with its interval, beside the constant rows."""
    rows = [_metric_row(name, metric, evaluation) for name, metric in evaluation.metrics.items()]
    head = ["", "model", "95 % interval", *evaluation.baselines, "0 to 100"]
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
    return section(
        "Numbers",
        table(head, rows, "numbers") + (f'<ul class="notes">{notes}</ul>' if notes else ""),
        "Percent; an arrow where lower is better. The interval is over images resampled. The "
        "constant rows know nothing of the image (grey ticks on the right): a model must beat "
        "them.",
    )


def _metric_row(name: str, metric: Metric, evaluation: Evaluation) -> list[str]:
    baselines = {row: values.get(name) for row, values in evaluation.baselines.items()}
    known = [(row, value) for row, value in baselines.items() if value is not None]
    between = "" if metric.low is None else f"{percent(metric.low)} to {percent(metric.high)}"
    definition = DEFINITIONS[name]
    better = " ↓" if definition.lower_is_better else ""
    return [
        f'<span title="{escape(definition.meaning)}">{escape(definition.title)}{better}</span>',
        f'<td class="value">{percent(metric.value)}</td>',
        f'<td class="between">{between}</td>',
        *(percent(value) for value in baselines.values()),
        strip(metric.value, metric.low, metric.high, known),
    ]


def curves(evaluation: Evaluation) -> str:
    """F1 by threshold, and precision by recall; nothing without masks."""
    if evaluation.curves is None or evaluation.histogram is None:
        return ""
    return section(
        "Curves",
        columns(
            _by_threshold(evaluation.curves, evaluation.threshold),
            _by_recall(evaluation.histogram, evaluation.metrics["pxap"].value),
        ),
    )


def _by_threshold(curves: np.ndarray, threshold: float) -> str:
    mean = curves.mean(axis=0)
    best = int(mean[1:100].argmax()) + 1
    here = float(np.interp(threshold, THRESHOLDS, mean))
    lines = [
        Line(THRESHOLDS, curves[0], "F1+", "c1"),
        Line(THRESHOLDS, curves[1], "F1-", "c2"),
        Line(THRESHOLDS, mean, "mean of both", "c3"),
    ]
    marks = [Mark(threshold, None, f"threshold {threshold:g}")]
    return section(
        "Score and threshold",
        line_chart(lines, marks, "threshold of the soft mask", "mean over images"),
        f"Mean of both at the model's threshold: {percent(here)}. The best threshold for this "
        f"data, {THRESHOLDS[best]:.2f}, would give {percent(mean[best])}.",
        level=3,
    )


def _by_recall(histogram: np.ndarray, area: float) -> str:
    precision, recall = (values[1:] for values in precision_recall(histogram))
    known = precision > 0
    share = float(histogram[0].sum() / histogram.sum())
    lines = [
        Line(recall[known], precision[known], f"model, area {percent(area)}", "c1"),
        Line(np.array([0.0, 1.0]), np.full(2, share), f"all-ones, area {percent(share)}", "base"),
    ]
    return section(
        "Precision and recall of pixels",
        line_chart(lines, [], "recall", "precision"),
        "Over all pixels of all images, at thresholds 1, 0.99, ..., 0; the area is PxAP.",
        level=3,
    )


def classes(evaluation: Evaluation) -> str:
    """The confusion matrix and a row for each true class."""
    matrix = evaluation.confusion
    rows = evaluation.per_class()
    had = [key for key in PER_CLASS if any(getattr(row, key) is not None for row in rows)]
    lines = [
        [escape(row.label), str(row.images), *(percent(getattr(row, key)) for key in had)]
        for row in rows
    ]
    by_class = table(["class", "images", *(PER_CLASS[key] for key in had)], lines)
    shown = "" if matrix is None else confusion(matrix, evaluation.classes)
    return section(
        "Classes",
        columns(section("Confusion", shown, level=3), section("By true class", by_class, level=3)),
    )


def trust(evaluation: Evaluation) -> str:
    """Flagged images against the rest; nothing if none is flagged."""
    groups = {
        "flagged": [result for result in evaluation.images if result.flagged],
        "not flagged": [result for result in evaluation.images if result.flagged is False],
    }
    if not groups["flagged"]:
        return ""
    rows = [[name, *_group(group)] for name, group in groups.items() if group]
    return section(
        "Trust",
        table(["", "images", quality_name(evaluation), "error"], rows, "narrow"),
        "Images that the card's limits on the two entropies mark for a second look, against the "
        "rest. The marks are worth something if the first row is worse than the second.",
    )


def _group(group: Sequence[ImageResult]) -> list[str]:
    quality = float(np.mean([result.quality for result in group]))
    wrong = float(np.mean([result.label_error for result in group]))
    return [str(len(group)), percent(quality), percent(wrong)]


def quality_name(evaluation: Evaluation) -> str:
    """What `ImageResult.quality` means here."""
    if "f1_plus" in evaluation.metrics:
        return "mean of F1+ and F1-"
    return "box IoU" if "box_acc" in evaluation.metrics else "posterior of the true class"


def image_table(evaluation: Evaluation) -> str:
    """Image by image, the worst first, folded away."""
    results = evaluation.worst_first()
    had = [key for key in PER_IMAGE if any(getattr(result, key) is not None for result in results)]
    rows = [
        [escape(result.name), *(_cell(getattr(result, key)) for key in had)]
        for result in results[:LISTED]
    ]
    extent = f"{len(rows)} of {len(results)}" if len(rows) < len(results) else f"{len(rows)}"
    body = table(["image", *(PER_IMAGE[key] for key in had)], rows)
    return folded(f"Image by image, worst first ({extent})", body)


def glossary(evaluation: Evaluation) -> str:
    """What each metric and row means, folded away."""
    terms = [(DEFINITIONS[name].title, DEFINITIONS[name].meaning) for name in evaluation.metrics]
    constants = [item for item in CONSTANTS if item[0] in evaluation.baselines]
    return folded("Definitions", definitions([*terms, *constants]))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else escape(str(value))
