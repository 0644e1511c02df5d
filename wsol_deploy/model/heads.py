"""From features to class maps and scores: a pooled map of each class, or attention (Deep MIL)."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.features import Features


class Localization(NamedTuple):
    """What is said of a batch: maps A (N x c x h' x w') and the scores behind p^ (N x c).

    With a pixel head also the features it reads, `fine` (N x k x h'' x w''), detached until
    self-training, and with a probe those it is fitted to, `depths` (N x k' x h' x w' each, shallow
    first), of the image without its border.
    """

    class_maps: Tensor
    logits: Tensor
    fine: Tensor | None = None
    depths: tuple[Tensor, ...] = ()


class MapHead(nn.Module):
    """Class activation maps (1 x 1 convolution, mean over modalities) and their pooled scores.

    Args:
        channels: of the features.
        classes: c.
        config: its `hidden` and `contrast`.
        pooling: maps to scores.
        modalities: maps a class.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        config: ModelConfig,
        pooling: nn.Module,
        modalities: int = 1,
    ) -> None:
        super().__init__()
        self.classes, self.contrast = classes, config.contrast
        self.project = Projection(channels, config.hidden) if config.hidden else None
        self.maps = nn.Conv2d(config.hidden or channels, classes * modalities, kernel_size=1)
        self.pooling = pooling

    def forward(self, features: Features) -> Localization:
        """Signed maps and their scores."""
        if self.project is None:
            maps = features.convolved(self.maps)
        else:
            maps = self.maps(self.project(features))
        maps = maps.unflatten(1, (self.classes, -1)).mean(dim=2)
        if self.contrast:
            maps = maps - maps.mean(dim=1, keepdim=True)
        return Localization(maps, self.pooling(maps))


class AttentionHead(nn.Module):
    """Attention-based deep MIL (Ilse et al. 2018), an attention a class.

    The instances h_k of a bag are the image's locations. Of each class c,
    a_ck = softmax_k(w_c' tanh(V h_k)), z_c = sum_k a_ck h_k, and its score is u_c' z_c + b_c; with
    one class this is their Eq. 7 and 8. The class map is where the attention is.

    Args:
        channels: of the features.
        classes: c.
        config: its `hidden` and `attention`, the rows of V.
    """

    def __init__(self, channels: int, classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.project = Projection(channels, config.hidden) if config.hidden else None
        channels = config.hidden or channels
        self.attention = nn.Sequential(
            nn.Conv2d(channels, config.attention, kernel_size=1),
            nn.Tanh(),
            nn.Conv2d(config.attention, classes, kernel_size=1, bias=False),
        )
        self.evidence = nn.Conv2d(channels, classes, kernel_size=1)

    def forward(self, features: Features) -> Localization:
        """Attention over its mean (1 where it is as everywhere), and the scores."""
        instances = features.joined() if self.project is None else self.project(features)
        attention = self.attention(instances)
        share = F.softmax(attention.flatten(2), dim=2)
        logits = (share * self.evidence(instances).flatten(2)).sum(dim=2)
        maps = share / share.mean(dim=2, keepdim=True)
        return Localization(maps.reshape(attention.shape), logits)


class Projection(nn.Sequential):
    """A 1 x 1 convolution with ReLU before the maps."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(nn.Conv2d(channels, hidden, 1), nn.ReLU())

    def forward(self, features: Features) -> Tensor:
        """N x hidden x h x w of the maps side by side."""
        convolution: Any = self[0]
        return self[1](features.convolved(convolution))
