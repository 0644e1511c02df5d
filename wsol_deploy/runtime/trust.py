"""Whether an image needs a second look: entropies on X+ and X-, and the mask's own contrast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsol_deploy.card import ModelCard

UNDECIDED = "foreground undecided"
PRESENT = 0.5  # posterior above which a class of a multi-label model is found
FAINT = "mask faint: the soft mask hardly tells inside from outside"
INCOMPLETE = "background still predicts {}: the mask may be incomplete"


@dataclass(frozen=True, slots=True)
class TrustReport:
    """The trust in one prediction.

    Attributes:
        foreground_entropy: of `probs`, in [0, 1]; low when the foreground decides the class.
        background_entropy: of `background_probs`, in [0, 1]; high when the mask left nothing of
            the class, or of the classes found, outside. None if not computed.
        mask_contrast: see `contrast`.
        review: why a person should look, or None.
    """

    foreground_entropy: float
    background_entropy: float | None
    mask_contrast: float
    review: str | None


def entropy(probs: np.ndarray, task: str = "single-label") -> float:
    """Shannon entropy in [0, 1]: over log c, or the mean over classes if they are independent.

    Args:
        probs: float32, c.
        task: of the card.
    """
    p = np.clip(probs.astype(np.float64), 0.0, 1.0)
    if task == "multi-label":
        return float(np.mean(_surprise(p) + _surprise(1 - p)) / np.log(2))
    return float(_surprise(p).sum() / np.log(len(p))) if len(p) > 1 else 0.0


def contrast(probability: np.ndarray, threshold: float) -> float:
    """How far the soft mask tells inside from outside, in [0, 1].

    Args:
        probability: float32, any shape, in [0, 1].
        threshold: inside is above it.

    Returns:
        its mean inside less its mean outside; 1 where all is inside or all outside.
    """
    inside = probability > threshold
    if inside.all() or not inside.any():
        return 1.0
    return float(probability[inside].mean() - probability[~inside].mean())


def assess(
    card: ModelCard,
    probability: np.ndarray,
    probs: np.ndarray | None,
    background_probs: np.ndarray | None,
) -> TrustReport | None:
    """Hold a prediction against the card's limits; None without `probs`."""
    if probs is None:
        return None
    inside, outside = entropies(probs, background_probs, card.task)
    reasons = []
    if inside > card.trust.foreground_entropy_max:
        reasons.append(UNDECIDED)
    low = outside is not None and outside < card.trust.background_entropy_min
    if low and background_probs is not None:
        seen = np.where(asked_of(probs, card.task), background_probs, -1)
        reasons.append(INCOMPLETE.format(card.classes[int(seen.argmax())]))
    clear = contrast(probability, card.threshold.value)
    if clear < card.trust.mask_contrast_min:
        reasons.append(FAINT)
    return TrustReport(inside, outside, clear, "; ".join(reasons) or None)


def entropies(
    probs: np.ndarray, background_probs: np.ndarray | None, task: str
) -> tuple[float, float | None]:
    """Entropy on X+, and on X- of the classes asked of; None if there is nothing to ask."""
    asked = asked_of(probs, task)
    if background_probs is None or not asked.any():
        return entropy(probs, task), None
    return entropy(probs, task), entropy(background_probs[asked], task)


def asked_of(probs: np.ndarray, task: str) -> np.ndarray:
    """bool, c: the classes of which nothing should be left on X-; of independent ones, those
    that were found."""
    return probs > PRESENT if task == "multi-label" else np.ones(len(probs), dtype=bool)


def _surprise(p: np.ndarray) -> np.ndarray:
    return -p * np.log(np.where(p > 0, p, 1.0))
