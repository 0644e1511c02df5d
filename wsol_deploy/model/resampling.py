"""Bilinear resampling (align_corners=True) with a deterministic gradient.

The paper detaches its upsampling because the library's backward was not deterministic
(footnote 5). Bilinear interpolation is separable, y = V x H', so its gradient is V' g H: two
small matrix products, the same bits every time on every device.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F


def bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample maps.

    Args:
        x: N x C x h x w, floating point.
        size: (H, W) wanted.

    Returns:
        N x C x H x W.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _Bilinear.apply(x, size)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def upsample(
    x: Tensor, size: tuple[int, int], stride: float, start: int = 0, covered: bool = False
) -> Tensor:
    """Bilinear upsampling that keeps maps on their image.

    Each cell lies on the middle of the pixels it stands for; aligning corners instead moves cells
    by up to half a stride. Beyond the first and the last middle their values hold. With a gradient
    two matrix products, which are deterministic backwards too; without one the library's, which is
    faster, where the stride is whole and the cells cover the image.

    Args:
        x: N x C x h x w.
        size: (H, W) wanted.
        stride: pixels of the result from one cell to the next.
        start: the first pixel wanted, of rows and of columns; the first cell begins at pixel 0.
        covered: whether the cells are known to reach to the last pixel wanted.

    Returns:
        N x C x H x W.
    """
    whole = float(stride).is_integer()
    if covered and whole and not (torch.is_grad_enabled() and x.requires_grad):
        wide = F.interpolate(x, scale_factor=float(stride), mode="bilinear", align_corners=False)
        return wide.narrow(2, start, size[0]).narrow(3, start, size[1])
    rows, columns = (
        _tent(cells, pixels, stride, start, x)
        for cells, pixels in zip(x.shape[2:], size, strict=True)
    )
    return rows @ x @ columns.T


def smoothed(maps: Tensor, cells: int) -> Tensor:
    """The mean over the square of so many cells a side about each; at the borders of those there.

    Args:
        maps: N x C x h x w.
        cells: odd.
    """
    return F.avg_pool2d(maps, cells, stride=1, padding=cells // 2, count_include_pad=False)


def reflected(x: Tensor, border: int) -> Tensor:
    """The image with reflected borders, laid on in steps so that small images can have them.

    Args:
        x: N x C x H x W, H and W from 17 up.
        border: pixels a side.
    """
    lay = _mirrored if torch.is_grad_enabled() and x.requires_grad else _padded
    while border:
        step = min(border, 16)
        x = lay(x, step)
        border -= step
    return x


def _padded(x: Tensor, border: int) -> Tensor:
    return F.pad(x, (border, border, border, border), mode="reflect")


def _mirrored(x: Tensor, border: int) -> Tensor:
    """`_padded` with a gradient that is the same twice, on a GPU too."""
    for dimension in (2, 3):
        first = x.narrow(dimension, 1, border).flip(dimension)
        last = x.narrow(dimension, x.shape[dimension] - 1 - border, border).flip(dimension)
        x = torch.cat([first, x, last], dim=dimension)
    return x


def within(
    maps: Tensor, size: tuple[int, int], stride: int, border: int, margin: int = 0
) -> Tensor:
    """The cells of the image itself, of maps of the image with a border.

    Args:
        maps: N x C x h x w.
        size: (H, W) of the image without its border.
        stride: of the maps; divides `border`.
        border: pixels a side.
        margin: cells of the border that stay, a side.
    """
    for dimension, side in zip((2, 3), size, strict=True):
        cells = (side + stride - 1) // stride + 2 * margin
        maps = maps.narrow(dimension, border // stride - margin, cells)
    return maps


def _tent(source: int, target: int, stride: float, start: int, like: Tensor) -> Tensor:
    cells = torch.arange(source, device=like.device, dtype=torch.float32)
    pixels = start + torch.arange(target, device=like.device, dtype=torch.float32)
    position = torch.minimum(((pixels + 0.5) / stride - 0.5).clamp(min=0), cells[-1])
    return (1 - (position[:, None] - cells[None, :]).abs()).clamp(min=0).to(like.dtype)


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """floor(scale * size) in integer arithmetic, which tracing and exporting keep dynamic."""
    part, whole = Fraction(scale).limit_denominator(100).as_integer_ratio()
    return size[0] * part // whole, size[1] * part // whole


class _Bilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.sizes = (tuple(x.shape[2:]), size)
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (h, w), (height, width) = ctx.sizes
        rows = interpolation_matrix(h, height, gradient)
        columns = interpolation_matrix(w, width, gradient)
        return rows.T @ gradient @ columns, None


def interpolation_matrix(source: int, target: int, like: Tensor) -> Tensor:
    """The target x source matrix of linear interpolation with aligned corners."""
    scale = (source - 1) / (target - 1) if target > 1 else 0.0
    position = torch.arange(target, device=like.device, dtype=torch.float64) * scale
    low = position.floor().long().clamp(max=source - 1)
    high = (low + 1).clamp(max=source - 1)
    fraction = position - low
    matrix = torch.zeros(target, source, device=like.device, dtype=torch.float64)
    row = torch.arange(target, device=like.device)
    matrix[row, low] += 1 - fraction
    matrix[row, high] += fraction
    return matrix.to(like.dtype)
