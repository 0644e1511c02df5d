"""One classifier on whole images, its mask the class map of the class it predicts.

CAM with average, maximum or log-sum-exp pooling, WILDCAT, and Deep MIL with its attention: the
methods of Table 1 that train on the classification loss alone.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn
from torch.nn import functional as F

from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.heads import AttentionHead, Localization, MapHead
from wsol_deploy.model.masks import union
from wsol_deploy.model.network import MapNetwork
from wsol_deploy.model.pooling import POOLINGS


class CamNetwork(MapNetwork):
    """A classifier with a map of each class.

    Args:
        backbone: for the features.
        classes: c.
        config: its `method` names the head.
    """

    outputs: tuple[str, ...] = ("mask", "probs", "class_maps")

    def __init__(self, backbone: Backbone, classes: int, config: ModelConfig) -> None:
        super().__init__(backbone, config, classes)
        if self.multi_label:
            self.outputs = (*self.outputs, "class_masks")
        self.classifier = _head(self.channels, classes, config)

    def localize(self, x: Tensor) -> Localization:
        """Class maps and scores of the image."""
        return self.classifier(self.bordered_features(x))

    def scores(self, x: Tensor) -> Tensor:
        """N x c; in training the running ranges follow the maps."""
        found = self.localize(x)
        if self.training:
            size = (x.shape[2], x.shape[3])
            self.follow_ranges(self.regions(found), size, self.shown(found))
        return found.logits

    def masks(self, found: Localization, size: tuple[int, int]) -> Tensor:
        """The predicted class's map, or each class's, rescaled: N x m x H x W in [0, 1]."""
        return self.if_shown(self.lay_rescaled(self.regions(found), size).clamp(0, 1), found)

    def weights(self, logits: Tensor) -> Tensor:
        """Of the class maps: 1 for the predicted class, N x c."""
        return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)

    def infer(self, x: Tensor, wanted: Collection[str] = outputs) -> dict[str, Tensor]:
        """The outputs it has; all come from one pass."""
        found = self.localize(x)
        masks = self.masks(found, (x.shape[2], x.shape[3]))
        result = {
            "mask": union(masks),
            "probs": self.posterior(found.logits),
            "class_maps": found.class_maps,
            "class_masks": masks,
        }
        return {name: result[name] for name in self.outputs if name in wanted}


def _head(channels: int, classes: int, config: ModelConfig) -> nn.Module:
    if config.method == "deep-mil":
        return AttentionHead(channels, classes, config)
    modalities = config.modalities if config.method == "wildcat" else 1
    return MapHead(channels, classes, config, POOLINGS[config.method](config), modalities)
