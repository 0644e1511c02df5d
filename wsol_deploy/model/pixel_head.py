"""A mask redrawn from the finest features: where the foreground ends, pixel by pixel.

Class maps are as coarse as the stride they are read at, and their context runs over the edges of
things. Their extremes are enough to teach a small head on shallow features, which sees only a few
dozen pixels around a place, what foreground looks like (F-CAM, Belharbi et al. 2022; NEGEV,
Belharbi et al. 2022). The features are detached until self-training: the backbone does not learn
from class maps' guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsol_deploy.model.resampling import upsample, within

STRIDES = (4, 8)
REACHES = (1, 0)  # of the kernels, cells a side
MOMENTUM = 0.1
EPSILON = 1e-5


class StandardisedConv2d(nn.Conv2d):
    """A convolution of features that are standardised before.

    Unlike the library's batch normalisation, running mean and variance do not follow whatever it
    sees.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, result: int, reach: int, bias: bool) -> None:
        super().__init__(channels, result, 2 * reach + 1, padding=reach, bias=bias)
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("variance", torch.ones(1, channels, 1, 1))

    @torch.no_grad()
    def follow(self, x: Tensor) -> None:
        """Let mean and variance follow those of training images."""
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), keepdim=True)
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance, MOMENTUM)

    def standard(self, x: Tensor) -> Tensor:
        """The features by the mean and variance of the batch in training, else the running ones."""
        if self.training:
            return F.batch_norm(x, None, None, training=True)
        return (x - self.mean) * (self.variance + EPSILON).rsqrt()

    def forward(self, x: Tensor) -> Tensor:
        """N x result x h x w, padded with the mean."""
        return super().forward(self.standard(x))

    def inner(self, x: Tensor) -> Tensor:
        """The same without padding: of all cells but the outermost it would need it for.

        At inference mean and variance are folded into the convolution, which zero padding would
        not allow, for its zeros stand for the mean: one pass over the features less.
        """
        if self.training:
            return F.conv2d(self.standard(x), self.weight, self.bias)
        weight = self.weight * (self.variance + EPSILON).rsqrt()
        bias = -(weight * self.mean).sum(dim=(1, 2, 3))
        return F.conv2d(x, weight, bias if self.bias is None else bias + self.bias)


class PixelHead(nn.Module):
    """Logit of foreground at the finest stride of the backbone.

    The finest map is convolved 3 x 3, the coarser one 1 x 1, each at its own stride, and what comes
    of it is laid on the finest cells: a 3 x 3 there would see as much as class maps do.

    Args:
        channels: of the backbone's maps, shallow first.
        strides: of the same. The first map at stride 4 and at stride 8 are read, the deepest
            never is: it sees too much.
        hidden: channels between the two convolutions.
        masks: m, how many it draws.
    """

    attached = False  # whether the backbone learns from its loss

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], hidden: int, masks: int = 1
    ) -> None:
        super().__init__()
        shallow = list(strides[:-1])
        self.used = [shallow.index(stride) for stride in STRIDES if stride in shallow] or [0]
        self.strides = tuple(strides[at] for at in self.used)
        layers = [
            StandardisedConv2d(channels[at], hidden, reach, bias=not no)
            for no, (at, reach) in enumerate(zip(self.used, REACHES, strict=False))
        ]
        self.hidden: Any = nn.ModuleList(layers)
        self.logit = nn.Conv2d(hidden, masks, kernel_size=1)

    @property
    def stride(self) -> int:
        """Pixels from one cell of the logits to the next."""
        return self.strides[0]

    def read(
        self, maps: Sequence[Tensor], size: tuple[int, int], border: int
    ) -> tuple[Tensor, ...]:
        """The backbone's maps it reads, each N x k x h x w, detached unless `attached`.

        Args:
            maps: shallow first, of images with a border.
            size: (H, W) of the images without it.
            border: pixels a side; of the finest map's cells those that `forward` needs are read.
                The coarser one keeps its border, which counts in its mean and variance.
        """
        finest, *coarser = (maps[at] if self.attached else maps[at].detach() for at in self.used)
        if border:
            finest = within(finest, size, self.stride, border, margin=REACHES[0])
        return finest, *coarser

    def forward(self, fine: Sequence[Tensor], border: int = 0) -> Tensor:
        """Logits, N x m x h x w at `stride`, of the cells of the image without its border.

        Args:
            fine: as read with that border.
            border: pixels a side.
        """
        found = [
            layer.inner(maps) if border else layer(maps)
            for layer, maps in zip(self.hidden, fine, strict=True)
        ]
        hidden, *coarser = found
        cells = (hidden.shape[2], hidden.shape[3])
        for maps, stride in zip(coarser, self.strides[1:], strict=True):
            ratio, start = stride / self.stride, border // self.stride
            hidden = hidden + upsample(maps, cells, ratio, start)
        return self.logit(hidden.relu())

    @torch.no_grad()
    def sharpen(self, factor: float) -> None:
        """Multiply the logits; where a mask is above one half does not change."""
        for parameter in self.logit.parameters():
            parameter.mul_(factor)

    def follow(self, fine: Sequence[Tensor]) -> None:
        """Let means and variances of the features follow those of training images."""
        for layer, maps in zip(self.hidden, fine, strict=True):
            layer.follow(maps)
