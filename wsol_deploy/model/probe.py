"""What all of an image says of its own masks: a linear probe fitted to one image at a time.

A pixel head sees a few dozen pixels around a place, and its weights are those of all images. So it
draws patches: of two places that look alike in this image, it may call one foreground and not the
other. A linear function of all depths' features, fitted by ridge regression to the masks of the
image itself, cannot follow patches that no feature explains, and says the same of what looks the
same (compare the image-specific prototypes of SIPE, Chen et al. 2022). It is fitted at inference,
within the graph, by a few steps of conjugate gradients: products of matrices alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.model.resampling import upsample

RIDGE = 1 / 200  # times the number of features
STEPS = 4
SMALLEST = 1e-3
TINY = 1e-12
LEAST = 0.01


def probe(masks: Tensor, maps: Sequence[Tensor], strides: Sequence[int], covers: bool) -> Tensor:
    """Masks as the probe of their image draws them, of the mean and the spread they had.

    Args:
        masks: N x m x h x w in [0, 1], on the cells of the first maps.
        maps: features of the image without its border, N x k x h' x w', shallow first.
        strides: of the maps; all divide the last.
        covers: whether the maps' cells reach over an image of any size.

    Returns:
        N x m x h x w in [0, 1].
    """
    size, finest, grid = (masks.shape[2], masks.shape[3]), strides[0], strides[-1]
    y = F.avg_pool2d(masks, grid // finest)
    rows, columns = y.shape[2], y.shape[3]
    cells = [F.avg_pool2d(m, grid // s) for m, s in zip(maps, strides, strict=True)]
    x = torch.cat([m[:, :, :rows, :columns] for m in cells], dim=1).flatten(2)
    y = y.flatten(2)
    centre, mean = x.mean(dim=2, keepdim=True), y.mean(dim=2, keepdim=True)
    x, y = x - centre, y - mean
    scale = _spread(x)
    x = x / scale
    weights = ridge_regression(x, y)
    weights = weights * _spread(y) / _spread(weights @ x) / scale.transpose(1, 2)
    drawn = (mean - weights @ centre)[..., None]
    parts = weights.split([m.shape[1] for m in maps], dim=2)
    for part, m, stride in zip(parts, maps, strides, strict=True):
        said = (part @ m.flatten(2)).unflatten(2, (m.shape[2], m.shape[3]))
        drawn = drawn + upsample(said, size, stride / finest, covered=covers)
    return drawn.clamp(0, 1)


def usual_share(masks: Tensor, usual: Tensor) -> Tensor:
    """Masks whose shares of their images go half-way to the usual one.

    How large a mask is, the head tells less surely than where it is; a shrunken estimate errs less
    (James and Stein 1961).

    Args:
        masks: N x m x h x w in [0, 1].
        usual: m x 1 x 1, the mean over training images.
    """
    return (masks + (usual - masks.mean(dim=(2, 3), keepdim=True)) / 2).clamp(0, 1)


def logits_of(masks: Tensor) -> Tensor:
    """The logits of masks, those of 0 and 1 finite."""
    masks = masks.clamp(LEAST, 1 - LEAST)
    return (masks / (1 - masks)).log()


def ridge_regression(x: Tensor, y: Tensor) -> Tensor:
    """Weights of the linear functions of x nearest to y, nearly: `STEPS` conjugate gradients.

    Args:
        x: N x k x cells, each feature of mean 0 and spread 1.
        y: N x m x cells, of mean 0.

    Returns:
        N x m x k.
    """
    penalty = RIDGE * x.shape[1]
    x = x / x.shape[2] ** 0.5
    residual = way = (y / y.shape[2] ** 0.5) @ x.transpose(1, 2)
    weights, square = torch.zeros_like(residual), _square(residual)
    for _ in range(STEPS):
        ahead = (way @ x) @ x.transpose(1, 2) + penalty * way
        step = square / ((way * ahead).sum(dim=2, keepdim=True) + TINY)
        weights, residual = weights + step * way, residual - step * ahead
        before, square = square, _square(residual)
        way = residual + square / (before + TINY) * way
    return weights


def _square(x: Tensor) -> Tensor:
    return (x * x).sum(dim=2, keepdim=True)


def _spread(centred: Tensor) -> Tensor:
    return (centred * centred).mean(dim=2, keepdim=True).sqrt().clamp(min=SMALLEST)
