"""The report: one HTML file with everything in it, readable without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from wsol_deploy.datasets.base import Sample
from wsol_deploy.evaluation import pictures, sections
from wsol_deploy.evaluation.markup import percent, section
from wsol_deploy.evaluation.measure import truth_of
from wsol_deploy.evaluation.results import Evaluation, ImageResult
from wsol_deploy.evaluation.sheet import COLUMNS, SheetRow
from wsol_deploy.files import readable, write_whole
from wsol_deploy.runtime.prediction import Prediction

PICTURE = 420
EACH = 3
TITLES = {"worst": "Worst images", "median": "Median images", "best": "Best images"}


@dataclass(frozen=True, slots=True)
class Shown:
    """An image of the gallery: its sample, what the model says of it, its result."""

    sample: Sample
    prediction: Prediction
    result: ImageResult


def choose(evaluation: Evaluation, each: int = EACH) -> dict[str, list[ImageResult]]:
    """The gallery: the worst, the median and the best images, none of them twice."""
    ordered = evaluation.worst_first()
    each = min(each, max(1, len(ordered) // 3))
    worst, rest = ordered[:each], ordered[each:]
    middle, best = rest[: max(0, len(rest) - each)], rest[max(0, len(rest) - each) :]
    start = max(0, (len(middle) - each) // 2)
    groups = {"worst": worst, "median": middle[start : start + each], "best": best[::-1]}
    return {name: group for name, group in groups.items() if group}


def sheet_row(shown: Shown, threshold: float) -> SheetRow:
    """The image as a row of the contact sheet.

    Raises:
        ImageError: the image or its mask cannot be read.
    """
    scores, result = shown.prediction.probability, shown.result
    parts = [result.name, result.label]
    if result.predicted not in (None, result.label):
        parts.append(f"taken for {result.predicted}")
    return SheetRow(
        image=shown.sample.read_image(),
        probability=scores,
        threshold=threshold,
        caption="     ".join([*parts, *_scores(result)]),
        truth=truth_of(shown.sample, scores.shape),
        boxes=shown.sample.boxes,
    )


def _scores(result: ImageResult) -> list[str]:
    titles = {"f1_plus": "F1+", "f1_minus": "F1-", "box_iou": "box IoU"}
    values = {title: getattr(result, key) for key, title in titles.items()}
    return [f"{title} {percent(value)}" for title, value in values.items() if value is not None]


def write_report(
    path: Path | str,
    evaluation: Evaluation,
    gallery: Mapping[str, Sequence[Shown]],
    title: str,
    facts: Mapping[str, str],
) -> None:
    """Write the report as one self-contained HTML file.

    Args:
        path: of the file; it appears whole or not at all.
        evaluation: what to report.
        gallery: by the groups of `choose`, its images predicted again.
        title: of the page.
        facts: short lines under the title (model, data, subset ...).

    Raises:
        ImageError: an image of the gallery cannot be read.
    """
    style = resources.files("wsol_deploy.evaluation").joinpath("report.css").read_text("utf-8")
    body = [
        _heading(title, facts),
        sections.headline(evaluation),
        sections.numbers(evaluation),
        sections.curves(evaluation),
        sections.classes(evaluation),
        sections.trust(evaluation),
        *(_gallery(name, shown, evaluation.threshold) for name, shown in gallery.items()),
        sections.image_table(evaluation),
        sections.glossary(evaluation),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )
    write_whole(Path(path), readable(page).encode())


def _heading(title: str, facts: Mapping[str, str]) -> str:
    items = "".join(f"<li><b>{escape(k)}</b>{escape(v)}</li>" for k, v in facts.items() if v)
    return f'<header><h1>{escape(title)}</h1><ul class="facts">{items}</ul></header>'


def _gallery(name: str, gallery: Sequence[Shown], threshold: float) -> str:
    return section(
        TITLES[name], _legend(gallery) + "".join(_row(shown, threshold) for shown in gallery)
    )


def _legend(gallery: Sequence[Shown]) -> str:
    keys = {"hit": "found"}
    if any(shown.sample.mask for shown in gallery):
        keys |= {"false": "found, not there", "missed": "missed"}
    elif any(shown.sample.boxes for shown in gallery):
        keys |= {"false": "box found", "box": "true box"}
    spans = "".join(f'<span><i class="key {key}"></i>{text}</span>' for key, text in keys.items())
    return f'<p class="legend hint">{spans}<span>soft mask 0<i class="scale"></i>1</span></p>'


def _row(shown: Shown, threshold: float) -> str:
    pairs = zip(COLUMNS, sheet_row(shown, threshold).cells(), strict=True)
    images = [_picture(kind, cell, shown.sample.name) for kind, cell in pairs if cell is not None]
    return (
        f'<figure class="pictures n{len(images)}"><figcaption>{_caption(shown.result)}'
        f"</figcaption>{''.join(images)}</figure>"
    )


def _picture(kind: str, cell: np.ndarray, name: str) -> str:
    small = pictures.shrink(cell, PICTURE, PICTURE)
    uri = pictures.data_uri(small, lossless=kind == "soft mask")
    return (
        f'<div><img src="{uri}" alt="{kind} of {escape(name)}" width="{small.shape[1]}" '
        f'height="{small.shape[0]}"><small>{kind}</small></div>'
    )


def _caption(result: ImageResult) -> str:
    label = escape(result.label)
    if result.predicted not in (None, result.label):
        label += f' <span class="bad">taken for {escape(str(result.predicted))}</span>'
    parts = [f"<b>{escape(result.name)}</b>", label]
    if result.label_probability is not None:
        parts.append(f"p(label) {result.label_probability:.2f}")
    parts += _scores(result)
    if result.flagged:
        parts.append("flagged for review")
    return " &nbsp;·&nbsp; ".join(parts)
