"""The localizer M and the classifier C on one shared backbone (Sec. 3, Fig. 2)."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.masks import decidability, ranges, rescale, soft_mask
from wsol_deploy.model.pooling import WildcatHead, WildcatPooling, posterior
from wsol_deploy.model.resampling import bilinear, reflected, scaled, upsample, within

MOMENTUM = 0.05


class Localization(NamedTuple):
    """What M says of a batch: A (N x c x h' x w') and the scores behind p^s (N x c)."""

    class_maps: Tensor
    logits: Tensor


class MinMaxNetwork(nn.Module):
    """G of the paper: M localizes, C classifies what the mask leaves visible.

    Inputs are normalised images, N x 3 x H x W, so that a masked pixel is mid-grey.
    """

    low: Tensor
    high: Tensor
    outputs = ("mask", "probs", "localizer_probs", "background_probs", "class_maps")

    def __init__(self, backbone: Backbone, classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        channels = sum(backbone.channels[-config.depths :])
        self.localizer = _head(channels, classes, config)
        self.classifier = _head(channels, classes, config)
        if config.rescale == "running":
            self.register_buffer("low", torch.zeros(()))
            self.register_buffer("high", torch.ones(()))

    batch_norm_frozen = False

    def freeze_batch_norm(self) -> None:
        """Keep the pretrained statistics: masked and erased images do not look like images."""
        self.batch_norm_frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> MinMaxNetwork:
        """Training mode; frozen batch norm stays in evaluation mode."""
        super().train(mode)
        if self.batch_norm_frozen:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """The backbone's deepest maps, side by side at the finest one's size."""
        first, *deeper = self.backbone(x)[-self.config.depths :]
        size = (first.shape[2], first.shape[3])
        strides = self.backbone.strides[-len(deeper) :]
        wider = [
            self._lay(maps, size, stride / self.stride)
            for maps, stride in zip(deeper, strides, strict=False)
        ]
        return torch.cat([first, *wider], dim=1)

    def localize(self, x: Tensor) -> Localization:
        """M's forward: class maps and scores of the image."""
        border = 0 if self.training else self.config.reflect
        features = self.features(reflected(x, border))
        if border:
            features = within(features, (x.shape[2], x.shape[3]), self.stride, border)
        return Localization(*self.localizer(features))

    def mask(self, found: Localization, size: tuple[int, int]) -> Tensor:
        """R+ (Eq. 10 and 11): N x 1 x H x W in [0, 1]."""
        t = decidability(found.class_maps, posterior(found.logits))
        t = self._lay(t, size, self.stride)
        low, high = ranges(t)
        if self.config.rescale == "running":
            low, high = self._running(low, high)
        return soft_mask(rescale(t, low, high), self.config.omega, self.config.sigma_prime)

    @torch.no_grad()
    def _running(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The running means of the ranges, updated in training."""
        if self.training and len(low):
            self.low.lerp_(low.float().mean(), MOMENTUM)
            self.high.lerp_(high.float().mean(), MOMENTUM)
        return self.low, self.high

    @property
    def stride(self) -> int:
        """Pixels from one cell of the class maps to the next."""
        return self.backbone.strides[-min(self.config.depths, len(self.backbone.strides))]

    def _lay(self, maps: Tensor, size: tuple[int, int], stride: float) -> Tensor:
        if self.config.alignment == "corners":
            return bilinear(maps, size)
        return upsample(maps, size, stride)

    def classify(self, masked: Tensor) -> Tensor:
        """C's scores (N x c) of X+ or X-, seen at `classifier_scale`."""
        if self.config.classifier_scale < 1:
            size = scaled((masked.shape[2], masked.shape[3]), self.config.classifier_scale)
            masked = bilinear(masked, size)
        return self.classifier(self.features(masked))[1]

    def infer(self, x: Tensor, wanted: Collection[str] = outputs) -> dict[str, Tensor]:
        """The contract's outputs; what is not wanted is not computed. No erasing (Fig. 2)."""
        found = self.localize(x)
        mask = self.mask(found, (x.shape[2], x.shape[3]))
        result = {
            "mask": mask,
            "localizer_probs": posterior(found.logits),
            "class_maps": found.class_maps,
        }
        if "probs" in wanted:
            result["probs"] = posterior(self.classify(x * mask))
        if "background_probs" in wanted:
            result["background_probs"] = posterior(self.classify(x * (1 - mask)))
        return {name: result[name] for name in self.outputs if name in wanted}


def _head(channels: int, classes: int, config: ModelConfig) -> WildcatHead:
    pooling = WildcatPooling(config.kmax, config.kmin, config.alpha, config.dropout)
    return WildcatHead(
        channels, classes, config.modalities, pooling, config.hidden, config.contrast
    )
