"""A mask redrawn from the finest features: where the foreground ends, pixel by pixel.

Class maps are as coarse as the stride they are read at, and their context runs over the edges of
things. What they are sure of is enough to teach a small head on shallow features, which sees only
a few dozen pixels around a place, what foreground looks like (F-CAM, Belharbi et al. 2022; NEGEV,
Belharbi et al. 2022). The features are detached: the backbone does not learn from its own guesses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsol_deploy.model.resampling import upsample

STRIDES = (4, 8)


class PixelHead(nn.Module):
    """Logit of foreground at the finest stride of the backbone.

    Args:
        channels: of the backbone's maps, shallow first.
        strides: of the same.
        hidden: channels between the two convolutions.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.used = sum(stride in STRIDES for stride in strides) or 1
        self.strides = tuple(strides[: self.used])
        width = sum(channels[: self.used])
        self.standardise = nn.BatchNorm2d(width, affine=False)
        self.hidden = nn.Conv2d(width, hidden, kernel_size=3, padding=1)
        self.logit = nn.Conv2d(hidden, 1, kernel_size=1)

    @property
    def stride(self) -> int:
        """Pixels from one cell of the logits to the next."""
        return self.strides[0]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits, N x 1 x h x w at `stride`.

        Args:
            maps: the backbone's, shallow first; no gradient flows back into them.
        """
        finest, *coarser = (one.detach() for one in maps[: self.used])
        size = (finest.shape[2], finest.shape[3])
        pairs = zip(coarser, self.strides[1:], strict=True)
        laid = [upsample(one, size, stride / self.stride) for one, stride in pairs]
        features = self.standardise(torch.cat([finest, *laid], dim=1))
        return self.logit(self.hidden(features).relu())
