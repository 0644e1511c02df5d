"""Trust in what a step of the recursive erasing found (Sec. 3.4, Eq. 12 to 14)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.train.losses import right

SMALLEST = 1e-6


def trust(
    t: int,
    logits: Tensor,
    labels: Tensor,
    loss: Tensor,
    first_loss: Tensor,
    sigma: float,
    tolerance: float = 0.0,
) -> Tensor:
    """Psi(t, i) of Eq. 13 with Gamma of Eq. 14.

    Args:
        t: depth of the recursion, from 0.
        logits: n x c, M's scores of the erased images.
        labels: n, or n x c as in `losses.cross_entropy`.
        loss: n, H(p, p^s) at this depth.
        first_loss: n, the same at depth 0.
        sigma: the larger, the slower trust falls with depth.
        tolerance: how much the loss may rise; Eq. 14 has 0.

    Returns:
        n in [0, 1]: exp(-t / sigma) times the true class's posterior; 0 where the class is wrong
        or the loss has risen by more than the tolerance.
    """
    gamma = torch.exp(-loss)
    holds = right(logits, labels) & (loss <= first_loss + tolerance)
    return math.exp(-t / sigma) * torch.where(holds, gamma, torch.zeros_like(gamma))


def accumulate(collected: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    """R+* of Eq. 12: the elementwise maximum of what is collected and the trusted mask.

    Args:
        collected, mask: n x 1 x h x w in [0, 1].
        psi: n.
    """
    return torch.maximum(collected, psi[:, None, None, None] * mask)


def erase(x: Tensor, collected: Tensor) -> Tensor:
    """What is left of images for the next pass (Algorithm 1): n x 3 x h x w."""
    return x * (1 - collected)


def near(collected: Tensor, reach: int) -> Tensor:
    """Erasing that remembers: where a further mask may add to what was already mined.

    The paper's erasing may jump to anything that still tells the class; within reach of what it
    has it can only grow the object.

    Args:
        collected: n x 1 x h x w in [0, 1].
        reach: pixels; 0 for anywhere.

    Returns:
        n x 1 x h x w in [0, 1]: the highest of `collected` in a square of `reach` pixels around,
        in steps of a quarter of it, over the highest of the image.
    """
    if not reach or not collected.any():
        return torch.ones_like(collected)
    cell = max(1, reach // 4)
    coarse = F.max_pool2d(collected, cell, ceil_mode=True)
    size = 2 * (reach // cell) + 1
    around = F.max_pool2d(coarse, size, stride=1, padding=size // 2)
    highest = around.amax(dim=(2, 3), keepdim=True).clamp(min=SMALLEST)
    return F.interpolate(around / highest, size=collected.shape[2:], mode="nearest")
