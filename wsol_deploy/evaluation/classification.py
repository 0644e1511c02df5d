"""Classification metrics: rank of the true class, confusion, AUROC."""

from __future__ import annotations

import numpy as np


def rank_of(probs: np.ndarray, label: int) -> int:
    """Place of the true class, 1 for the likeliest; ties go to the class named first."""
    order = np.argsort(-np.asarray(probs, dtype=np.float64), kind="stable")
    return int(np.flatnonzero(order == label)[0]) + 1


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64, c x c: rows are true classes, columns predicted ones."""
    pairs = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    Args:
        scores: float, n.
        positive: bool, n.

    Returns:
        In [0, 1]; NaN if one of the two is missing.
    """
    values, place = np.unique(scores, return_inverse=True)
    ups = np.bincount(place[positive], minlength=len(values))
    downs = np.bincount(place[~positive], minlength=len(values))
    below = np.cumsum(downs) - downs
    pairs = int(ups.sum()) * int(downs.sum())
    return float((ups * (below + downs / 2)).sum() / pairs) if pairs else float("nan")
