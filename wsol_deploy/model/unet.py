"""U-Net (Ronneberger et al. 2015) on the shared backbones: full supervision, the upper bound.

The decoder is segmentation-models-pytorch's (the extra `unet`).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from wsol_deploy.errors import MissingExtra
from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.network import Network

FINEST = 16  # channels of the finest block; each coarser one has twice as many


class UNetNetwork(Network):
    """Backbone and decoder; no classifier."""

    outputs = ("mask",)

    def __init__(self, backbone: Backbone, config: ModelConfig) -> None:
        super().__init__(backbone, config)
        try:
            from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
        except ImportError as error:
            raise MissingExtra("The method unet", "unet") from error
        blocks = len(backbone.channels)
        self.decoder = UnetDecoder(
            encoder_channels=(3, *backbone.channels),
            decoder_channels=[FINEST << blocks - 1 - at for at in range(blocks)],
            n_blocks=blocks,
        )
        self.segmenter = nn.Conv2d(FINEST, 1, kernel_size=3, padding=1)

    def segment(self, x: Tensor) -> Tensor:
        """Scores of the pixels: N x 1 x H x W, above 0 for the foreground."""
        return self.segmenter(self.decoder([x, *self.backbone(x)]))

    def infer(self, x: Tensor, wanted: Collection[str] = outputs) -> dict[str, Tensor]:
        """The mask."""
        return {"mask": torch.sigmoid(self.segment(x))} if "mask" in wanted else {}
