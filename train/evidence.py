"""Local evidence: what can be decided from one place alone.

A localizer that sees whole images learns to answer everywhere, from context. Mixing tiles of two
images (CutMix, Yun et al. 2019, on a grid) and asking for each location's own label takes the
context away: a location is decided only by what is there, and what both classes share stays
undecided. This is the decidable region of Sec. 3.1, learned at the localizer.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.model.minmax import MinMaxNetwork


def mix_tiles(x: Tensor, tiles: int) -> tuple[Tensor, Tensor, Tensor]:
    """Replace about half of each image's tiles by those of another image of the batch.

    Args:
        x: n x 3 x h x w.
        tiles: along each side.

    Returns:
        mixed: n x 3 x h x w.
        partner: n, the index of the other image.
        own: n x 1 x h x w, 1 where a pixel is the image's own, 0 where the partner's.
    """
    n, _, height, width = x.shape
    partner = torch.randperm(n).to(x.device)
    grid = (torch.rand(n, 1, tiles, tiles) < 0.5).to(x)
    own = F.interpolate(grid, size=(height, width), mode="nearest")
    return x * own + x[partner] * (1 - own), partner, own


def local_cross_entropy(class_maps: Tensor, labels: Tensor, partner: Tensor, own: Tensor) -> Tensor:
    """Cross-entropy of each location's posterior with the label of the tile it lies in.

    Args:
        class_maps: A of the mixed images, n x c x h' x w'.
        labels: n, int64.
        partner, own: of `mix_tiles`.

    Returns:
        n: the mean over locations; one astride an edge counts for both labels by their share.
    """
    share = F.adaptive_avg_pool2d(own, class_maps.shape[2:])[:, 0]
    mine = _located(class_maps, labels)
    others = _located(class_maps, labels[partner])
    return (share * mine + (1 - share) * others).mean(dim=(1, 2))


def _located(class_maps: Tensor, labels: Tensor) -> Tensor:
    target = labels[:, None, None].expand(-1, *class_maps.shape[2:])
    return F.cross_entropy(class_maps, target, reduction="none")


def local_loss(network: MinMaxNetwork, x: Tensor, labels: Tensor, tiles: int) -> Tensor:
    """The mean local cross-entropy of a freshly mixed batch.

    Args:
        network: in training mode.
        x: normalised images, n x 3 x h x w.
        labels: n, int64.
        tiles: along each side.
    """
    mixed, partner, own = mix_tiles(x, tiles)
    return local_cross_entropy(network.localize(mixed).class_maps, labels, partner, own).mean()
