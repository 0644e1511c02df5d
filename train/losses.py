"""The entropies of Sec. 3.2, a value a sample, and the size barrier of the authors' follow-up."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """H(p, p^) of Eq. 3 and Eq. 8: -log of the true class's posterior.

    Args:
        logits: n x c.
        labels: n, int64; or of multi-label images n x c, 1 for a class that is shown, else 0.

    Returns:
        n, at least 0; of multi-label images the mean binary cross-entropy over the classes.
    """
    if labels.dim() == 2:
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=1)
    return F.cross_entropy(logits, labels, reduction="none")


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """bool, n: whether the likeliest class is the true one, or every class is judged right."""
    if labels.dim() == 2:
        return ((logits > 0) == (labels > 0)).all(dim=1)
    return logits.argmax(dim=1) == labels


def uniform_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """H(q, p^)- of Eq. 6, q uniform: at least log c, reached when nothing can be decided.

    Args:
        logits: n x c, of the classifier on X-.
        labels: n, or n x c as in `cross_entropy`.

    Returns:
        n; of multi-label images the mean over the classes shown of the binary cross-entropy with
        1/2, at least log 2: of the others nothing is asked.
    """
    if labels.dim() == 2:
        undecided = -(F.logsigmoid(logits) + F.logsigmoid(-logits)) / 2
        return (labels * undecided).sum(dim=1) / labels.sum(dim=1).clamp(min=1)
    return -F.log_softmax(logits.float(), dim=1).mean(dim=1)


def size_barrier(mask: Tensor, t: float) -> Tensor:
    """Keep foreground and background both non-empty (Belharbi et al. 2022, absolute sizes).

    Args:
        mask: R+, n x 1 x h x w in [0, 1].
        t: sharpness of the barrier, above 0.

    Returns:
        n: the extended log-barrier (Kervadec et al. 2019) of -|R+| <= 0 and -|R-| <= 0, sizes as
        fractions of the image.
    """
    size = mask.mean(dim=(1, 2, 3))
    return log_barrier(-size, t) + log_barrier(size - 1, t)


def extremes_cross_entropy(logits: Tensor, evidence: Tensor, extremes: float) -> Tensor:
    """Cross-entropy of a pixel head with the class maps at their extremes (F-CAM, NEGEV).

    Foreground and background weigh the same in every mask: where class maps light up nearly
    everywhere, as on tissue that is malignant throughout, the head would else learn that all such
    tissue is foreground.

    Args:
        logits: of foreground, n x m x h x w.
        evidence: of the class maps, n x m x H x W in [0, 1], no gradient flows into it.
        extremes: the share of a mask's places that is at either end, and all that equal them. Of
            the highest, those above one half are foreground; of the lowest, those below are
            background. A mask that is nowhere above one half is background wherever it is below.
            Elsewhere nothing is asked.

    Returns:
        n: over the masks the mean of both ends' means, 0 for an end without any place.
    """
    evidence = F.adaptive_avg_pool2d(evidence.detach(), (logits.shape[2], logits.shape[3])).float()
    ends = evidence.new_tensor([extremes, 1 - extremes])
    low, high = torch.quantile(evidence.flatten(2), ends, dim=2)[..., None, None]
    absent = evidence.amax(dim=(2, 3), keepdim=True) <= 0.5
    foreground = (evidence >= high) & (evidence > 0.5)
    background = ((evidence <= low) | absent) & (evidence < 0.5)
    found = _weighted_mean(foreground, F.softplus(-logits))
    left = _weighted_mean(background, F.softplus(logits))
    return ((found + left) / 2).mean(dim=1)


def taught_cross_entropy(logits: Tensor, masks: Tensor, balanced: bool) -> Tensor:
    """Cross-entropy of a pixel head with soft masks.

    Args:
        logits: of foreground, n x m x h x w.
        masks: n x m x H x W in [0, 1], no gradient flows into them.
        balanced: a place counts as foreground by its value and as background by what is left of
            it, and both ends weigh the same in each mask: one that is faint in most places teaches
            as much as a bold one, where it is higher than elsewhere. A mask that is nowhere above
            one half, of a class that is not shown here, is background alone, at half the weight.

    Returns:
        n.
    """
    masks = F.adaptive_avg_pool2d(masks.detach(), (logits.shape[2], logits.shape[3])).float()
    logits = logits.float()
    if not balanced:
        losses = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
        return losses.mean(dim=(1, 2, 3))
    present = masks.amax(dim=(2, 3), keepdim=True) > 0.5
    found = _weighted_mean(masks * present, F.softplus(-logits))
    left = _weighted_mean(1 - masks, F.softplus(logits))
    return ((found + left) / 2).mean(dim=1)


def _weighted_mean(weights: Tensor, losses: Tensor) -> Tensor:
    return (weights * losses).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp(min=1)


def log_barrier(z: Tensor, t: float) -> Tensor:
    """The extended log-barrier of the constraint z <= 0: finite and differentiable everywhere."""
    edge = -1 / t**2
    inside = -torch.log(-z.clamp(max=edge)) / t
    outside = t * z - math.log(1 / t**2) / t + 1 / t
    return torch.where(z <= edge, inside, outside)
