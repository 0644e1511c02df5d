"""What all of an image says of its own mask: a linear discriminant fitted to one image at a time.

A pixel head sees a few dozen pixels around a place, and its weights are those of all images. So it
draws patches: of two places that look alike in this image, it may call one foreground and not the
other. A linear function of the features cannot follow patches that no feature explains, and says
the same of what looks the same (compare the image-specific prototypes of SIPE, Chen et al. 2022).
It is a discriminant after Fisher (1936) of foreground and background as the head drew them: how
features vary within an image is learned from the training images, so that in the graph it is two
products of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsol_deploy.model.resampling import upsample

MOMENTUM = 0.05
RIDGE = 0.1  # of each feature's own variance (Friedman 1989)
LEAST_OWN = 0.01  # of the mean variance: a feature that hardly varied in training decides nothing
MOVE = 0.5  # of the way that masks' shares go to the usual one
SMALLEST = 1e-6
LEAST = 0.01


class Probe(nn.Module):
    """Redraws masks on the cells of the finest maps.

    Args:
        channels: of the maps it reads, shallow first.
        strides: of the same; each divides the next.
        masks: m.
        covers: whether the maps' cells reach over an image of any size.
    """

    covariance: Tensor
    precision: Tensor
    usual: Tensor

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], masks: int, covers: bool
    ) -> None:
        super().__init__()
        self.channels, self.strides, self.covers = list(channels), list(strides), covers
        self.register_buffer("covariance", torch.eye(sum(channels)))
        self.register_buffer("precision", torch.eye(sum(channels)))
        self.register_buffer("usual", torch.full((masks, 1, 1), 0.5))

    def forward(self, masks: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """The masks as the discriminants draw them, each of the mean and the spread it had.

        Cells of the coarsest maps that reach over the image are not fitted to, but drawn.

        Args:
            masks: N x m x h x w in [0, 1], on the cells of the first maps.
            maps: features of the image without its border, N x k x h' x w'.

        Returns:
            N x m x h x w in [0, 1].
        """
        y = _pooled(masks, self.strides[-1] // self.strides[0])
        x = self._cells(maps, (y.shape[2], y.shape[3]))
        mean = y.mean(dim=(2, 3))[:, :, None]
        y = y.flatten(2) - mean
        weights = y @ x.transpose(1, 2) @ self.precision
        said = weights @ x
        middle = said.mean(dim=2, keepdim=True)
        scale = (y.square().mean(dim=2, keepdim=True) + SMALLEST).sqrt() / (
            (said - middle).square().mean(dim=2, keepdim=True) + SMALLEST
        ).sqrt()
        drawn = (mean - scale * middle)[..., None]
        size, finest = (masks.shape[2], masks.shape[3]), self.strides[0]
        parts = (scale * weights).split(self.channels, dim=2)
        for part, m, stride in zip(parts, maps, self.strides, strict=True):
            laid = (part @ m.flatten(2)).unflatten(2, (m.shape[2], m.shape[3]))
            if stride > finest:
                laid = upsample(laid, size, stride / finest, covered=self.covers)
            drawn = drawn + laid
        return drawn.clamp(0, 1)

    def train(self, mode: bool = True) -> Self:
        """For evaluation the covariance, however it came about, is inverted."""
        if not mode:
            self._settle()
        return super().train(mode)

    @torch.no_grad()
    def _settle(self) -> None:
        own = self.covariance.diagonal()
        own = own.clamp(min=LEAST_OWN * float(own.mean()) + SMALLEST)
        self.precision.copy_(torch.linalg.inv_ex(self.covariance + RIDGE * own.diag()).inverse)

    @torch.no_grad()
    def follow(self, maps: Sequence[Tensor]) -> None:
        """Let the covariance within images follow that of training images."""
        finest = maps[0]
        ratio = self.strides[-1] // self.strides[0]
        x = self._cells(maps, (finest.shape[2] // ratio, finest.shape[3] // ratio)).float()
        x = (x - x.mean(dim=2, keepdim=True)).transpose(0, 1).flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            self.covariance.lerp_(x @ x.T / x.shape[1], MOMENTUM)

    def _cells(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The maps' means over the cells of the coarsest: N x k x cells."""
        pairs = zip(maps, self.strides, strict=True)
        pooled = [_pooled(m, self.strides[-1] // stride) for m, stride in pairs]
        return torch.cat([m[:, :, : size[0], : size[1]] for m in pooled], dim=1).flatten(2)


def _pooled(maps: Tensor, ratio: int) -> Tensor:
    return maps if ratio == 1 else F.avg_pool2d(maps, ratio)


def usual_share(masks: Tensor, usual: Tensor) -> Tensor:
    """Masks whose shares of their images go half-way (`MOVE`) to the usual one.

    How large a mask is, the head tells less surely than where it is; a shrunken estimate errs less
    (James and Stein 1961).

    Args:
        masks: N x m x h x w in [0, 1].
        usual: m x 1 x 1, the mean over training images.
    """
    return (masks + MOVE * (usual - masks.mean(dim=(2, 3), keepdim=True))).clamp(0, 1)


def logits_of(masks: Tensor) -> Tensor:
    """The logits of masks, those of 0 and 1 finite."""
    masks = masks.clamp(LEAST, 1 - LEAST)
    return (masks / (1 - masks)).log()
