"""What the networks of all methods share: the backbone, and maps read from it and laid back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from wsol_deploy.errors import UsageError
from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.features import Depth, Features
from wsol_deploy.model.heads import Localization
from wsol_deploy.model.masks import decidability, ranges, rescale, union
from wsol_deploy.model.pooling import posterior
from wsol_deploy.model.resampling import bilinear, reflected, upsample, within

MOMENTUM = 0.05


class Network(nn.Module):
    """A network on a backbone. Inputs are normalised images, N x 3 x H x W.

    Every network has `infer`, which computes the outputs of the contract that it has (`outputs`).
    """

    outputs: tuple[str, ...]
    batch_norm_frozen = False

    def __init__(self, backbone: Backbone, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.multi_label = config.task == "multi-label"

    def posterior(self, logits: Tensor) -> Tensor:
        """N x c in [0, 1], by the task."""
        return posterior(logits, self.config.task)

    def freeze_batch_norm(self) -> None:
        """Keep the pretrained statistics: masked and erased images do not look like images."""
        self.batch_norm_frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode; frozen batch norm stays in evaluation mode."""
        super().train(mode)
        if self.batch_norm_frozen:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


class MapNetwork(Network, ABC):
    """A network whose masks come from maps of the deepest features, laid over the image.

    Args:
        backbone: for the features.
        config: its make.
        classes: c, each with a mask of its own if the images show several; else there is one.
    """

    low: Tensor
    high: Tensor

    def __init__(self, backbone: Backbone, config: ModelConfig, classes: int) -> None:
        super().__init__(backbone, config)
        self.channels = sum(backbone.channels[-config.depths :])
        if config.reflect % self.stride:
            raise UsageError(
                f"model.reflect = {config.reflect} is no multiple of {self.stride}, the stride of "
                f"{config.backbone}'s maps; use --set model.reflect=0"
            )
        if config.rescale == "running":
            shape = (classes, 1, 1) if self.multi_label else ()
            self.register_buffer("low", torch.zeros(shape))
            self.register_buffer("high", torch.ones(shape))

    @property
    def stride(self) -> int:
        """Pixels from one cell of the maps to the next."""
        return self.backbone.strides[-min(self.config.depths, len(self.backbone.strides))]

    def features(self, x: Tensor) -> Features:
        """The backbone's deepest maps of an image without a border."""
        return self.read(self.backbone(x))

    def bordered_features(self, x: Tensor) -> Features:
        """The same of the image with its reflected border, cut back to it."""
        return self.read(self.backbone(self.bordered(x)), (x.shape[2], x.shape[3]))

    def read(self, maps: Sequence[Tensor], size: tuple[int, int] | None = None) -> Features:
        """The deepest of the backbone's maps.

        Args:
            maps: all of them, shallow first.
            size: (H, W) of the image without its border, if the maps have one.
        """
        number = min(self.config.depths, len(maps))
        first, *deeper = maps[-number:]
        channels, strides = self.backbone.channels[-number:], self.backbone.strides[-number:]
        cells = (first.shape[2], first.shape[3])

        def cut(maps: Tensor) -> Tensor:
            return maps if size is None else self.within_border(maps, size, self.stride)

        def laid(stride: int) -> Callable[[Tensor], Tensor]:
            return lambda maps: cut(self._lay(maps, cells, stride / self.stride))

        depths = [
            Depth(maps, width, laid(stride))
            for maps, width, stride in zip(deeper, channels[1:], strides[1:], strict=True)
        ]
        return Features([Depth(cut(first), channels[0], lambda maps: maps), *depths])

    @property
    def border(self) -> int:
        """Pixels of reflected border a side that `bordered` lays on."""
        return self.config.reflect

    def bordered(self, x: Tensor) -> Tensor:
        """The image with its reflected border."""
        return reflected(x, self.border)

    def within_border(self, maps: Tensor, size: tuple[int, int], stride: int) -> Tensor:
        """Maps of a bordered image cut back to the image of `size` pixels."""
        return within(maps, size, stride, self.border) if self.border else maps

    @abstractmethod
    def masks(self, found: Localization, size: tuple[int, int]) -> Tensor:
        """The m soft masks of images of `size` pixels: N x m x H x W in [0, 1]."""

    def mask(self, found: Localization, size: tuple[int, int]) -> Tensor:
        """R+, the union of the masks: N x 1 x H x W in [0, 1]."""
        return union(self.masks(found, size))

    def regions(self, found: Localization) -> Tensor:
        """What the mask is made of, N x m x h' x w': T of Eq. 10, or each class's own map."""
        if self.multi_label:
            return found.class_maps
        return decidability(found.class_maps, self.weights(found.logits))

    def weights(self, logits: Tensor) -> Tensor:
        """Of the class maps in T: the posterior, N x c."""
        return self.posterior(logits)

    def shown(self, found: Localization) -> Tensor:
        """How surely an image shows what each mask is of, N x m: each class's posterior, or 1."""
        if self.multi_label:
            return self.posterior(found.logits)
        return found.logits.new_ones(found.logits.shape[0], 1)

    def if_shown(self, masks: Tensor, found: Localization) -> Tensor:
        """Masks of classes (N x m x H x W) that fade where the image does not show the class."""
        return masks * self.shown(found)[:, :, None, None] if self.multi_label else masks

    def lay_rescaled(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (N x m x h' x w') at the image's size, from low to high in about [0, 1]."""
        maps = self._lay(maps, size, self.stride)
        running = self.config.rescale == "running"
        low, high = (self.low, self.high) if running else ranges(maps)
        return rescale(maps, low, high)

    @torch.no_grad()
    def follow_ranges(self, maps: Tensor, size: tuple[int, int], shown: Tensor) -> None:
        """Let the running ranges follow the maps of training images, where there are any.

        Args:
            maps: N x m x h' x w'.
            size: (H, W) of the images.
            shown: N x m in [0, 1], how surely an image shows what the map is of.
        """
        if self.config.rescale == "running":
            low, high = ranges(self._lay(maps, size, self.stride))
            self._follow(self.low, low[:, :, 0, 0], shown)
            self._follow(self.high, high[:, :, 0, 0], shown)

    @staticmethod
    def _follow(mean: Tensor, found: Tensor, shown: Tensor) -> None:
        """Move a running mean (of m values) towards what images that show it have, N x m."""
        shown = shown.to(mean.dtype)
        images = shown.sum(dim=0).clamp(min=torch.finfo(shown.dtype).tiny)
        now = (shown * found.to(mean.dtype)).sum(dim=0) / images
        mean.lerp_(now.view_as(mean), (MOMENTUM * images.clamp(max=1)).view_as(mean))

    def _lay(self, maps: Tensor, size: tuple[int, int], stride: float) -> Tensor:
        if self.config.alignment == "corners":
            return bilinear(maps, size)
        return upsample(maps, size, stride, covered=self.backbone.covers)
