"""The steps of the methods that one loss trains: on image labels, or on masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.train import losses
from wsol_deploy.train.step import StepReport


def classification_step(
    network: Any, x: Tensor, labels: Tensor, backward: Callable[[Tensor], None]
) -> StepReport:
    """Accumulate the gradients of the cross-entropy of whole images.

    Args:
        network: with `scores`, in training mode.
        x: normalised images, n x 3 x h x w.
        labels: n, int64; or of multi-label images n x c, see `losses.cross_entropy`.
        backward: accumulates a scalar's gradient.
    """
    logits = network.scores(x)
    loss = losses.cross_entropy(logits, labels).mean()
    backward(loss)
    correct = losses.right(logits, labels).sum()
    return StepReport({"class": loss.detach()}, len(x), len(x), correct)


def segmentation_step(
    network: Any, x: Tensor, masks: Tensor, backward: Callable[[Tensor], None]
) -> StepReport:
    """Accumulate the gradients of the binary cross-entropy of pixels.

    Args:
        network: with `segment`, in training mode.
        x: normalised images, n x 3 x h x w.
        masks: n x 1 x h x w, 1 on the object, else 0.
        backward: accumulates a scalar's gradient.

    Returns:
        a report in which an image is as correct as the share of its right pixels.
    """
    logits = network.segment(x)
    loss = F.binary_cross_entropy_with_logits(logits, masks.to(logits.dtype))
    backward(loss)
    right = ((logits > 0) == (masks > 0)).float().mean(dim=(1, 2, 3)).sum()
    return StepReport({"mask": loss.detach()}, len(x), len(x), right)
