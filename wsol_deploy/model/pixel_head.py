"""A mask redrawn from the finest features: where the foreground ends, pixel by pixel.

Class maps are as coarse as the stride they are read at, and their context runs over the edges of
things. Their extremes are enough to teach a small head on shallow features, which sees only a few
dozen pixels around a place, what foreground looks like (F-CAM, Belharbi et al. 2022; NEGEV,
Belharbi et al. 2022). The features are detached until self-training: the backbone does not learn
from class maps' guesses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsol_deploy.model.resampling import upsample, within

STRIDES = (4, 8)
REACH = 1  # cells a logit depends on, a side
MOMENTUM = 0.1
EPSILON = 1e-5


class PixelHead(nn.Module):
    """Logit of foreground at the finest stride of the backbone.

    Args:
        channels: of the backbone's maps, shallow first.
        strides: of the same. The maps at stride 4 and at stride 8 are read, of several the
            shallowest; never the deepest: it sees too much.
        hidden: channels between the two convolutions.
        masks: m, how many it draws.
        covers: whether the maps' cells reach over an image of any size.
    """

    mean: Tensor
    variance: Tensor
    attached = False  # whether the backbone learns from its loss

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        hidden: int,
        masks: int = 1,
        covers: bool = False,
    ) -> None:
        super().__init__()
        self.covers = covers
        shallow = list(strides[:-1])
        self.used = [shallow.index(stride) for stride in STRIDES if stride in shallow] or [0]
        self.strides = tuple(strides[at] for at in self.used)
        width = sum(channels[at] for at in self.used)
        self.register_buffer("mean", torch.zeros(1, width, 1, 1))
        self.register_buffer("variance", torch.ones(1, width, 1, 1))
        self.hidden = nn.Conv2d(width, hidden, kernel_size=2 * REACH + 1, padding=REACH)
        self.logit = nn.Conv2d(hidden, masks, kernel_size=1)

    @property
    def stride(self) -> int:
        """Pixels from one cell of the logits to the next."""
        return self.strides[0]

    def read(self, maps: Sequence[Tensor], size: tuple[int, int], border: int) -> Tensor:
        """The features it reads of the backbone's maps, N x k x h x w, detached unless `attached`.

        Args:
            maps: shallow first, of images with a border.
            size: (H, W) of the images without it.
            border: pixels a side; of its cells those that `inner` needs are read.
        """
        finest, *coarser = (maps[at] if self.attached else maps[at].detach() for at in self.used)
        start = 0
        if border:
            start = border // self.stride - REACH
            finest = within(finest, size, self.stride, border, margin=REACH)
        cells = (finest.shape[2], finest.shape[3])
        pairs = zip(coarser, self.strides[1:], strict=True)
        wider = [upsample(m, cells, s / self.stride, start, self.covers) for m, s in pairs]
        return torch.cat([finest, *wider], dim=1)

    def forward(self, fine: Tensor) -> Tensor:
        """Logits, N x m x h x w at `stride`, of features read without a border."""
        return self.logit(self.hidden(self._standard(fine)).relu())

    def inner(self, fine: Tensor) -> Tensor:
        """The same of features read with a border: of all cells but the outermost `REACH`.

        At inference mean and variance are folded into the convolution, which zero padding would
        not allow, for its zeros stand for the mean: one pass over the features less.
        """
        if self.training:
            return self(fine)[:, :, REACH:-REACH, REACH:-REACH]
        assert self.hidden.bias is not None
        weight = self.hidden.weight * (self.variance + EPSILON).rsqrt()
        bias = self.hidden.bias - (weight * self.mean).sum(dim=(1, 2, 3))
        return self.logit(F.conv2d(fine, weight, bias).relu())

    @torch.no_grad()
    def sharpen(self, factor: float) -> None:
        """Multiply the logits; where a mask is above one half does not change."""
        for parameter in self.logit.parameters():
            parameter.mul_(factor)

    @torch.no_grad()
    def follow(self, fine: Tensor) -> None:
        """Let mean and variance of the features follow those of training images."""
        variance, mean = torch.var_mean(fine.float(), dim=(0, 2, 3), keepdim=True)
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance, MOMENTUM)

    def _standard(self, fine: Tensor) -> Tensor:
        """Batch normalisation; unlike the library's it does not follow whatever it sees."""
        if self.training:
            return F.batch_norm(fine, None, None, training=True)
        return (fine - self.mean) * (self.variance + EPSILON).rsqrt()
