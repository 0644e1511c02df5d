"""A mask redrawn from the finest features: where the foreground ends, pixel by pixel.

Class maps are as coarse as the stride they are read at, and their context runs over the edges of
things. Their extremes are enough to teach a small head on shallow features, which sees only a few
dozen pixels around a place, what foreground looks like (F-CAM, Belharbi et al. 2022; NEGEV,
Belharbi et al. 2022). The features are detached until self-training: the backbone does not learn
from class maps' guesses. From self-training on deep features add what the surroundings say: by then
masks are taught, and not the class maps' extremes.
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


class Context(nn.Module):
    """What deep features add to the logit of foreground; nothing before it is trained.

    Args:
        channels: of the features.
        stride: of the same.
        hidden: channels between its two 1 x 1 convolutions.
        masks: m.
    """

    def __init__(self, channels: int, stride: int, hidden: int, masks: int) -> None:
        super().__init__()
        self.stride = stride
        self.hidden = nn.Conv2d(channels, hidden, kernel_size=1)
        self.logit = nn.Conv2d(hidden, masks, kernel_size=1)
        for parameter in self.logit.parameters():
            nn.init.zeros_(parameter)

    def forward(self, surroundings: Tensor) -> Tensor:
        """N x m x h x w of N x k x h x w, each place normalised over its channels."""
        places = surroundings.permute(0, 2, 3, 1)
        standard = F.layer_norm(places, places.shape[3:]).permute(0, 3, 1, 2)
        return self.logit(self.hidden(standard).relu())


class PixelHead(nn.Module):
    """Logit of foreground at the finest stride of the backbone.

    Args:
        channels: of the backbone's maps, shallow first.
        strides: of the same. The maps at stride 4 and at stride 8 are read, of several the
            shallowest; never the deepest: it sees too much.
        hidden: channels between the two convolutions.
        masks: m, how many it draws.
        covers: whether the maps' cells reach over an image of any size.
        context: channels and stride of the maps for the context; None to do without.
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
        context: tuple[int, int] | None = None,
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
        self.context = Context(*context, hidden, masks) if context else None

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

    def forward(self, fine: Tensor, surroundings: Tensor) -> Tensor:
        """Logits, N x m x h x w at `stride`, of features read without a border.

        Args:
            fine: what `read` read.
            surroundings: the maps for the context, of the image without a border.
        """
        return self._in_context(self._local(fine), surroundings)

    def inner(self, fine: Tensor, surroundings: Tensor) -> Tensor:
        """The same of features read with a border: of all cells but the outermost `REACH`.

        At inference mean and variance are folded into the convolution, which zero padding would
        not allow, for its zeros stand for the mean: one pass over the features less.
        """
        if self.training:
            logits = self._local(fine)[:, :, REACH:-REACH, REACH:-REACH]
            return self._in_context(logits, surroundings)
        assert self.hidden.bias is not None
        weight = self.hidden.weight * (self.variance + EPSILON).rsqrt()
        bias = self.hidden.bias - (weight * self.mean).sum(dim=(1, 2, 3))
        return self._in_context(self.logit(F.conv2d(fine, weight, bias).relu()), surroundings)

    @torch.no_grad()
    def sharpen(self, factor: float) -> None:
        """Multiply the logits; where a mask is above one half does not change."""
        last = [self.logit] if self.context is None else [self.logit, self.context.logit]
        for layer in last:
            for parameter in layer.parameters():
                parameter.mul_(factor)

    @torch.no_grad()
    def follow(self, fine: Tensor) -> None:
        """Let mean and variance of the features follow those of training images."""
        variance, mean = torch.var_mean(fine.float(), dim=(0, 2, 3), keepdim=True)
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance, MOMENTUM)

    def _local(self, fine: Tensor) -> Tensor:
        return self.logit(self.hidden(self._standard(fine)).relu())

    def _in_context(self, logits: Tensor, surroundings: Tensor) -> Tensor:
        if self.context is None or (self.training and not self.attached):
            return logits
        cells, stride = (logits.shape[2], logits.shape[3]), self.context.stride / self.stride
        return logits + upsample(self.context(surroundings), cells, stride, covered=self.covers)

    def _standard(self, fine: Tensor) -> Tensor:
        """Batch normalisation; unlike the library's it does not follow whatever it sees."""
        if self.training:
            return F.batch_norm(fine, None, None, training=True)
        return (fine - self.mean) * (self.variance + EPSILON).rsqrt()
