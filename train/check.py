"""What stops a training: a network that cannot be, refused before a run is made; broken images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from wsol_deploy.card import MIN_SIDE
from wsol_deploy.errors import DataError, UsageError
from wsol_deploy.model.backbones import read_weights
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.network import MapNetwork
from wsol_deploy.model.resampling import scaled

SHOWN = 10


def check_network(config: ModelConfig, classes: int) -> None:
    """Build the network without memory for its weights, and read a file of them.

    Raises:
        ArtifactError: no such file of weights, or unreadable.
        UsageError: no such backbone, not with this stride, or not for the smallest images.
        MissingExtra: the method needs a package that is not installed.
    """
    if config.weights not in ("imagenet", "none"):
        read_weights(Path(config.weights))
    with torch.device("meta"):
        network = build(config, classes, pretrained=False)
        scale = config.classifier_scale if config.method == "minmax" else 1.0
        height, width = scaled((MIN_SIDE, MIN_SIDE), scale)
        try:
            if isinstance(network, MapNetwork):
                network.backbone.eval()(torch.empty(1, 3, height, width))
        except RuntimeError as error:
            raise UsageError(
                f"{config.backbone} with output stride {config.output_stride} cannot see images of "
                f"{height} x {width} pixels, which the smallest are to the network; use --set "
                "model.output_stride=16, or model.classifier_scale=1.0"
            ) from error


def cannot_be_read(reasons: Sequence[str], images: int) -> DataError:
    """One line about all broken images, so that they can be mended at once.

    Args:
        reasons: one or more, each with its image's path.
        images: how many there are.
    """
    if len(reasons) == 1:
        return DataError(f"{reasons[0]}; repair it or take it out of the data set")
    shown = "; ".join(reasons[:SHOWN])
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return DataError(
        f"{len(reasons)} of the {images} images to train with cannot be read; repair them or take "
        f"them out of the data set: {shown}{more}"
    )
