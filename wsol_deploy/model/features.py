"""Maps of several depths as a head reads them: side by side, at the cells of the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Depth(NamedTuple):
    """The maps of one depth of a backbone.

    Attributes:
        maps: N x k x h x w.
        channels: k, a number that does not change when a graph is traced.
        lay: lays what has their cells on those wanted.
    """

    maps: Tensor
    channels: int
    lay: Callable[[Tensor], Tensor]


class Features(NamedTuple):
    """The deepest maps of a backbone, shallow first."""

    depths: Sequence[Depth]

    def joined(self) -> Tensor:
        """All side by side at the cells wanted, N x the sum of the channels x h x w."""
        return torch.cat([lay(maps) for maps, _, lay in self.depths], dim=1)

    def convolved(self, layer: nn.Conv2d) -> Tensor:
        """What a 1 x 1 convolution makes of `joined`.

        Laying commutes with it. So each depth is convolved where it has the fewest cells, and what
        is laid has the channels of the result.

        Args:
            layer: kernel 1 x 1, stride 1.
        """
        parts, read, bias = [], 0, layer.bias
        for maps, channels, lay in self.depths:
            weight = layer.weight[:, read : read + channels]
            parts.append(lay(F.conv2d(maps, weight, bias)))
            read, bias = read + channels, None
        return reduce(torch.add, parts)
