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


def rescale(maps: Tensor) -> Tensor:
    """Min-max to [0, 1], each image by itself; a constant map becomes zeros."""
    low = maps.amin(dim=(2, 3), keepdim=True)
    high = maps.amax(dim=(2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp(min=SMALLEST_RANGE)


def soft_mask(t: Tensor, omega: float, sigma_prime: float) -> Tensor:
    """R+ of Eq. 11: T upsampled to the image, rescaled, pseudo-thresholded.

    Args:
        t: T at the image's size, N x 1 x H x W.
        omega: slope of the sigmoid.
        sigma_prime: its centre, in [0, 1].

    Returns:
        N x 1 x H x W in [0, 1].
    """
    return torch.sigmoid(omega * (rescale(t) - sigma_prime))
