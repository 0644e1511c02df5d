"""Maps of several depths as a head reads them: side by side, at the cells of the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Features:
    """The deepest maps of a backbone.

    Attributes:
        first: N x k x h x w, whose cells the others are laid on.
        deeper: of other sizes, shallow first.
        lay: for each of these, lays what has its cells on those of the first.
    """

    first: Tensor
    deeper: Sequence[Tensor]
    lay: Sequence[Callable[[Tensor], Tensor]]

    def joined(self) -> Tensor:
        """All side by side, N x k' x h x w."""
        laid = [lay(maps) for maps, lay in zip(self.deeper, self.lay, strict=True)]
        return torch.cat([self.first, *laid], dim=1)

    def convolved(self, layer: nn.Conv2d) -> Tensor:
        """What a 1 x 1 convolution makes of `joined`.

        Laying commutes with it. So each part is convolved where it has the fewest cells, and what
        is laid has the channels of the result.

        Args:
            layer: kernel 1 x 1, stride 1.
        """
        channels = [self.first.shape[1], *(maps.shape[1] for maps in self.deeper)]
        weight, *weights = layer.weight.split(channels, dim=1)
        result = F.conv2d(self.first, weight, layer.bias)
        for maps, part, lay in zip(self.deeper, weights, self.lay, strict=True):
            result = result + lay(F.conv2d(maps, part))
        return result
