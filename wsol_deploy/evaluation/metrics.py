"""Every metric by name: what it is called, what it needs, how it follows from sums over images."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from wsol_deploy.evaluation import boxes, pixels
from wsol_deploy.evaluation.bootstrap import Statistics, Sums


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric.

    Attributes:
        title: what people call it.
        needs: the statistic without which there is no such metric.
        images: the statistic that counts the images it is measured on.
        formula: sums over images (1 + copies rows each) to float64, 1 + copies.
        meaning: one sentence for the report.
        lower_is_better: true of errors.
    """

    title: str
    needs: str
    images: str
    formula: Callable[[Sums], np.ndarray]
    meaning: str
    lower_is_better: bool = False


def _mean(name: str, images: str) -> Callable[[Sums], np.ndarray]:
    return lambda sums: sums[name] / sums[images]


DEFINITIONS: dict[str, Definition] = {
    "error": Definition(
        "error",
        "wrong",
        "labelled",
        _mean("wrong", "labelled"),
        "Share of images whose likeliest class is not the true one; where images show several "
        "classes, share of wrong decisions, one a class and image.",
        lower_is_better=True,
    ),
    "f1_plus": Definition(
        "F1+",
        "f1_plus",
        "masked",
        _mean("f1_plus", "masked"),
        "Dice of the foreground in each image at the threshold, mean over images; "
        "1 where neither mask nor truth has any.",
    ),
    "f1_minus": Definition(
        "F1-",
        "f1_minus",
        "masked",
        _mean("f1_minus", "masked"),
        "Dice of the background in each image at the threshold, mean over images.",
    ),
    "class_f1": Definition(
        "class F1+",
        "class_f1",
        "classed",
        _mean("class_f1", "classed"),
        "Where images show several classes: Dice of each shown class's own mask at the threshold, "
        "mean over the classes of an image, then over images.",
    ),
    "class_iou": Definition(
        "class IoU",
        "class_iou",
        "classed",
        _mean("class_iou", "classed"),
        "The same of intersection over union.",
    ),
    "iou": Definition(
        "IoU",
        "iou",
        "masked",
        _mean("iou", "masked"),
        "Intersection over union of the foreground in each image, mean over images.",
    ),
    "pxap": Definition(
        "PxAP",
        "histogram",
        "masked",
        lambda sums: pixels.pxap(sums["histogram"]),
        "Area under the precision-recall curve over all pixels of all images; needs no threshold.",
    ),
    "max_box_acc": Definition(
        "MaxBoxAcc",
        "hits",
        "boxed",
        lambda sums: boxes.max_box_acc(sums["hits"], sums["boxed"]),
        "Share of images whose largest region's box has IoU 0.5 with a true box, at the best "
        "threshold for this data.",
    ),
    "max_box_acc_v2": Definition(
        "MaxBoxAccV2",
        "hits",
        "boxed",
        lambda sums: boxes.max_box_acc_v2(sums["hits"], sums["boxed"]),
        "The same with any region's box, mean over IoU 0.3, 0.5 and 0.7.",
    ),
    "box_acc": Definition(
        "BoxAcc",
        "box_hit",
        "boxed",
        _mean("box_hit", "boxed"),
        "MaxBoxAcc at the model's own threshold instead of the best one.",
    ),
    "top1_loc": Definition(
        "Top-1 loc",
        "top1",
        "boxed",
        lambda sums: boxes.localisation(sums["hits"], sums["top1"], sums["boxed"]),
        "Share of images right in class and, at MaxBoxAcc's threshold, in box.",
    ),
    "top5_loc": Definition(
        "Top-5 loc",
        "top5",
        "boxed",
        lambda sums: boxes.localisation(sums["hits"], sums["top5"], sums["boxed"]),
        "The same with the class among the five likeliest (more than five classes only).",
    ),
    "auroc": Definition(
        "AUROC",
        "auroc",
        "labelled",
        _mean("auroc", "labelled"),
        "How often an image of the second class gets a higher posterior for it than one of the "
        "first (two classes only).",
    ),
}
FOLLOWS_FROM_SUMS = tuple(name for name in DEFINITIONS if name != "auroc")


def compute(sums: Sums) -> dict[str, np.ndarray]:
    """Every metric the sums allow: name to float64, 1 + copies.

    Raises:
        DataError: there are truth masks and none has a foreground pixel.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: DEFINITIONS[name].formula(sums)
            for name in FOLLOWS_FROM_SUMS
            if DEFINITIONS[name].needs in sums
        }


def label_statistics(error: float) -> Statistics:
    """Statistics of one image's classification: 0 or 1, or the share of wrong decisions."""
    return {"labelled": 1.0, "wrong": error}


def class_statistics(counts: Collection[pixels.Counts]) -> Statistics:
    """Statistics of the masks of the classes that one image shows."""
    return {
        "classed": 1.0,
        "class_f1": sum(one.f1_plus for one in counts) / len(counts),
        "class_iou": sum(one.iou for one in counts) / len(counts),
    }


def pixel_statistics(counts: pixels.Counts, histogram: np.ndarray) -> Statistics:
    """Statistics of one image's mask and of its score map's histogram."""
    return {
        "masked": 1.0,
        "f1_plus": counts.f1_plus,
        "f1_minus": counts.f1_minus,
        "iou": counts.iou,
        "histogram": histogram,
    }


def box_statistics(
    overlap: boxes.BoxOverlap, rank: int | None = None, classes: int = 0
) -> Statistics:
    """Statistics of one image's boxes; Top-k ones only if the true class's rank is known."""
    hits = overlap.hits
    found: dict[str, np.ndarray | float] = {
        "boxed": 1.0,
        "hits": hits,
        "box_hit": float(overlap.at_threshold >= 0.5),
    }
    if rank is not None:
        found["top1"] = hits[0] * (rank <= 1)
    if rank is not None and classes > 5:
        found["top5"] = hits[0] * (rank <= 5)
    return found
