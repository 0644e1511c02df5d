"""The paper's Fig. 3: one row an image, one column a method, the truth first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from wsol_deploy.datasets.base import Sample
from wsol_deploy.evaluation import pictures
from wsol_deploy.evaluation.measure import truth_of
from wsol_deploy.evaluation.sheet import SheetRow
from wsol_deploy.reproduce.jobs import Job
from wsol_deploy.reproduce.measure import MASKS

SIDE, LEAST = 280, 110  # pixels of a picture, and on a narrow page
IMAGE, TRUTH, SOFT, OVERLAY = range(4)


@dataclass(frozen=True, slots=True)
class Strip:
    """One method's masks.

    Attributes:
        title: of the column.
        threshold: of the soft masks.
        masks: image name to soft mask, float, H x W in [0, 1].
    """

    title: str
    threshold: float
    masks: Mapping[str, np.ndarray]


def load_strip(job: Job, title: str) -> Strip | None:
    """The masks a job's evaluation kept; None if it has not been measured."""
    result = job.result()
    if result is None or not (job.folder / MASKS).is_file():
        return None
    with np.load(job.folder / MASKS) as stored:
        masks = {name: stored[name].astype(np.float32) for name in stored.files}
    return Strip(title, result["threshold"], masks)


def figure(samples: Sequence[Sample], classes: Sequence[str], strips: Sequence[Strip]) -> str:
    """Markup of the pictures: image, truth, then what each method found, laid over the image.

    Raises:
        ImageError: an image or its mask cannot be read.
    """
    if not samples or not strips:
        return ""
    titles = "".join(
        f"<th>{escape(title)}</th>"
        for title in ("image", "truth", *(strip.title for strip in strips))
    )
    columns = len(strips) + 2
    rows = "".join(_row(sample, classes[sample.label], strips) for sample in samples)
    return (
        f'<div class="scroll"><table class="figure" style="min-width: {LEAST * columns}px; '
        f'max-width: {SIDE * columns}px"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(sample: Sample, label: str, strips: Sequence[Strip]) -> str:
    cells = "".join(_cell(picture, alt) for picture, alt in _pictures(sample, strips))
    caption = f"{escape(sample.name)} · {escape(label)}"
    return (
        f'<tr><td class="caption" colspan="{len(strips) + 2}"><span>{caption}</span></td></tr>'
        f"<tr>{cells}</tr>"
    )


def _pictures(sample: Sample, strips: Sequence[Strip]) -> Iterator[tuple[np.ndarray | None, str]]:
    image = sample.read_image()
    truth = truth_of(sample, image.shape[:2])

    def cells(probability: np.ndarray, threshold: float) -> list[np.ndarray | None]:
        boxes = () if truth is not None else sample.boxes
        return SheetRow(image, probability, threshold, truth=truth, boxes=boxes).cells()

    yield image, sample.name
    yield cells(np.zeros(image.shape[:2], np.float32), 0.5)[TRUTH], f"truth of {sample.name}"
    for strip in strips:
        mask = strip.masks.get(sample.name)
        found = None if mask is None else cells(mask, strip.threshold)[OVERLAY]
        yield found, f"{strip.title} on {sample.name}"


def _cell(picture: np.ndarray | None, alt: str) -> str:
    if picture is None:
        return "<td>–</td>"
    small = pictures.shrink(picture, SIDE, SIDE)
    return (
        f'<td><img src="{pictures.data_uri(small)}" alt="{escape(alt)}" '
        f'width="{small.shape[1]}" height="{small.shape[0]}"></td>'
    )
