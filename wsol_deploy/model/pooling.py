"""Pool class activation maps into logits: WILDCAT (Durand et al. 2017, the paper's [9])."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WildcatPooling(nn.Module):
    """Mean of the highest locations plus alpha times the mean of the lowest.

    k = round(fraction * locations), at least 1; k is a tensor, so any size can be exported.

    Args:
        kmax, kmin: fractions of the locations, in [0, 1]; kmin = 0 leaves the lowest out.
        alpha: weight of the lowest locations.
        dropout: on the sorted values, in training only.
    """

    def __init__(self, kmax: float, kmin: float, alpha: float, dropout: float) -> None:
        super().__init__()
        self.kmax, self.kmin, self.alpha = kmax, kmin, alpha
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """Scores.

        Args:
            maps: N x c x h x w.

        Returns:
            N x c.
        """
        values = maps.flatten(2).sort(dim=2, descending=True).values
        rank = torch.ones_like(values).cumsum(dim=2)
        count = rank[..., -1:]
        values = self.dropout(values)
        score = _mean_where(values, rank <= _k(self.kmax, count))
        if self.alpha and self.kmin:
            lowest = rank > count - _k(self.kmin, count)
            score = score + self.alpha * _mean_where(values, lowest)
        return score


def _k(fraction: float, count: Tensor) -> Tensor:
    return (fraction * count).round().clamp(min=1)


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    weight = chosen.to(values.dtype)
    return (values * weight).sum(dim=2) / weight.sum(dim=2)


class WildcatHead(nn.Module):
    """Features to class activation maps (1 x 1 convolution, mean over modalities) and logits.

    Args:
        channels: of the features.
        classes: c.
        modalities: maps a class.
        pooling: maps to scores.
        hidden: channels of a 1 x 1 convolution with ReLU before the maps; 0 leaves it out.
        contrast: subtract the maps' mean over classes; softmax does not see it, Eq. 10 does.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        modalities: int,
        pooling: WildcatPooling,
        hidden: int = 0,
        contrast: bool = False,
    ) -> None:
        super().__init__()
        self.classes, self.contrast = classes, contrast
        self.project = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU()) if hidden else None
        self.maps = nn.Conv2d(hidden or channels, classes * modalities, kernel_size=1)
        self.pooling = pooling

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(A, logits): N x c x h' x w' signed maps, N x c scores."""
        if self.project is not None:
            features = self.project(features)
        maps = self.maps(features).unflatten(1, (self.classes, -1)).mean(dim=2)
        if self.contrast:
            maps = maps - maps.mean(dim=1, keepdim=True)
        return maps, self.pooling(maps)


def posterior(logits: Tensor) -> Tensor:
    """Softmax over classes: N x c in [0, 1], rows sum to 1."""
    return F.softmax(logits, dim=1)
