"""The constant rows of Table 1 as networks: one mask for all images, one posterior for all.

What can be had without looking. The posterior is learned: the commonest class wins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.network import Network
from wsol_deploy.model.pooling import posterior

CENTRE_AREA = 0.5  # of the box, as a share of the image's: that of evaluation's own row


class NoBackbone(Backbone):
    """In the place of a backbone where nothing looks at the image."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.channels, self.strides = (), ()
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class ConstantNetwork(Network):
    """A mask that depends on nothing but the image's size, and the classes' frequencies."""

    outputs = ("mask", "probs")

    def __init__(self, classes: int, config: ModelConfig) -> None:
        super().__init__(NoBackbone(), config)
        self.log_prior = nn.Parameter(torch.zeros(classes))

    def scores(self, x: Tensor) -> Tensor:
        """N x c, the same for every image."""
        return x.new_ones(x.shape[0], 1) * self.log_prior

    def mask(self, x: Tensor) -> Tensor:
        """Zeros and ones for the images: N x 1 x H x W."""
        height, width = x.shape[2], x.shape[3]
        return AREAS[self.config.method](height, width, x).expand(x.shape[0], 1, height, width)

    def infer(self, x: Tensor, wanted: Collection[str] = outputs) -> dict[str, Tensor]:
        """The outputs it has."""
        result = {"mask": self.mask(x), "probs": posterior(self.scores(x))}
        return {name: result[name] for name in self.outputs if name in wanted}


def all_ones(height: int, width: int, like: Tensor) -> Tensor:
    """Everything is foreground: H x W."""
    return like.new_ones(height, width)


def centre_box(height: int, width: int, like: Tensor) -> Tensor:
    """A centred box of the image's shape with half its area is foreground: H x W."""
    return (_middle(height, like)[:, None] & _middle(width, like)[None, :]).to(like.dtype)


AREAS: dict[str, Callable[[int, int, Tensor], Tensor]] = {
    "all-ones": all_ones,
    "centre-box": centre_box,
}


def _middle(side: int, like: Tensor) -> Tensor:
    pixels = torch.arange(side, device=like.device).double()
    border = ((pixels[-1] + 1) * ((1 - CENTRE_AREA**0.5) / 2)).round()
    return (pixels >= border) & (pixels < pixels[-1] + 1 - border)
