"""Pool class activation maps into logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsol_deploy.model.config import ModelConfig


class AveragePooling(nn.Module):
    """The mean of all locations (CAM, Zhou et al. 2016)."""

    def forward(self, maps: Tensor) -> Tensor:
        """N x c scores of N x c x h x w maps."""
        return maps.mean(dim=(2, 3))


class MaxPooling(nn.Module):
    """The highest location (Oquab et al. 2015, the paper's [26])."""

    def forward(self, maps: Tensor) -> Tensor:
        """N x c scores of N x c x h x w maps."""
        return maps.amax(dim=(2, 3))


class LSEPooling(nn.Module):
    """log-sum-exp, between the mean and the maximum (Pinheiro and Collobert 2015; [38, 29]).

    s = 1/r log(1/(h w) sum exp(r A)).

    Args:
        r: near 0 it is the mean, the larger, the nearer to the maximum.
    """

    def __init__(self, r: float) -> None:
        super().__init__()
        self.r = r

    def forward(self, maps: Tensor) -> Tensor:
        """N x c scores of N x c x h x w maps."""
        highest = maps.amax(dim=(2, 3), keepdim=True)
        mean = torch.exp(self.r * (maps - highest)).mean(dim=(2, 3))
        return highest[:, :, 0, 0] + mean.log() / self.r


class WildcatPooling(nn.Module):
    """Mean of the highest locations plus alpha times the mean of the lowest.

    WILDCAT (Durand et al. 2017, the paper's [9]). k = round(fraction * locations), at least 1; k
    is a tensor, so any size can be exported.

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
        """N x c scores of N x c x h x w maps."""
        values = maps.flatten(2).sort(dim=2, descending=True).values
        rank = torch.ones_like(values).cumsum(dim=2)
        count = rank[..., -1:]
        values = self.dropout(values)
        score = _mean_where(values, rank <= _k(self.kmax, count))
        if self.alpha and self.kmin:
            lowest = rank > count - _k(self.kmin, count)
            score = score + self.alpha * _mean_where(values, lowest)
        return score


def wildcat(config: ModelConfig) -> nn.Module:
    """WILDCAT's pooling as configured; of all locations alike it is their mean, without sorting."""
    if config.kmax == 1 and not (config.alpha and config.kmin) and not config.dropout:
        return AveragePooling()
    return WildcatPooling(config.kmax, config.kmin, config.alpha, config.dropout)


POOLINGS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "cam-avg": lambda config: AveragePooling(),
    "cam-max": lambda config: MaxPooling(),
    "cam-lse": lambda config: LSEPooling(config.lse_r),
    "wildcat": wildcat,
}


def posterior(logits: Tensor, task: str = "single-label") -> Tensor:
    """N x c in [0, 1]: softmax over classes, rows sum to 1; of `multi-label` each its sigmoid."""
    return logits.sigmoid() if task == "multi-label" else F.softmax(logits, dim=1)


def _k(fraction: float, count: Tensor) -> Tensor:
    return (fraction * count).round().clamp(min=1)


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    weight = chosen.to(values.dtype)
    return (values * weight).sum(dim=2) / weight.sum(dim=2)
