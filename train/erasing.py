"""Trust in what a step of the recursive erasing found (Sec. 3.4, Eq. 12 to 14)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wsol_deploy.train.losses import right


def trust(
    t: int, logits: Tensor, labels: Tensor, loss: Tensor, first_loss: Tensor, sigma: float
) -> Tensor:
    """Psi(t, i) of Eq. 13 with Gamma of Eq. 14.

    Args:
        t: depth of the recursion, from 0.
        logits: n x c, M's scores of the erased images.
        labels: n, or n x c as in `losses.cross_entropy`.
        loss: n, H(p, p^s) at this depth.
        first_loss: n, the same at depth 0.
        sigma: the larger, the slower trust falls with depth.

    Returns:
        n in [0, 1]: exp(-t / sigma) times the true class's posterior; 0 where the class is wrong
        or the loss has risen.
    """
    gamma = torch.exp(-loss)
    holds = right(logits, labels) & (loss <= first_loss)
    return math.exp(-t / sigma) * torch.where(holds, gamma, torch.zeros_like(gamma))


def accumulate(collected: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    """R+* of Eq. 12: the elementwise maximum of what is collected and the trusted mask.

    Args:
        collected, mask: n x 1 x h x w in [0, 1].
        psi: n.
    """
    return torch.maximum(collected, psi[:, None, None, None] * mask)
