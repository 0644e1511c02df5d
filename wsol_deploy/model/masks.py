"""From class activation maps to the mask R+ (Sec. 3.3, Eq. 10 and 11)."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_RANGE = 1e-6


def decidability(class_maps: Tensor, posterior: Tensor) -> Tensor:
    """T of Eq. 10: the class maps averaged under the localizer's posterior.

    Args:
        class_maps: A, N x c x h' x w', raw and signed.
        posterior: N x c.

    Returns:
        N x 1 x h' x w'.
    """
    return (posterior[:, :, None, None] * class_maps).sum(dim=1, keepdim=True)


def union(masks: Tensor) -> Tensor:
    """The highest of m masks at each pixel: N x m x H x W to N x 1 x H x W."""
    return masks if masks.shape[1] == 1 else masks.amax(dim=1, keepdim=True)


def ranges(t: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of each map: n x m x 1 x 1 both."""
    return t.amin(dim=(2, 3), keepdim=True), t.amax(dim=(2, 3), keepdim=True)


def rescale(t: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """T with `low` brought to 0 and `high` to 1; an empty range gives zeros, not NaN."""
    return (t - low) / (high - low).clamp(min=SMALLEST_RANGE)


def soft_mask(t: Tensor, omega: float, sigma_prime: float) -> Tensor:
    """R+ of Eq. 11: the pseudo-threshold.

    Args:
        t: T at the image's size, rescaled, N x m x H x W.
        omega: slope of the sigmoid.
        sigma_prime: its centre, in [0, 1].

    Returns:
        N x m x H x W in [0, 1].
    """
    return torch.sigmoid(omega * (t - sigma_prime))
