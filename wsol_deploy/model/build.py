"""A network from its configuration."""

from __future__ import annotations

from wsol_deploy.model import backbones
from wsol_deploy.model.cam import CamNetwork
from wsol_deploy.model.config import CONSTANTS, ModelConfig
from wsol_deploy.model.constant import ConstantNetwork
from wsol_deploy.model.minmax import MinMaxNetwork
from wsol_deploy.model.network import Network
from wsol_deploy.model.unet import UNetNetwork


def build(config: ModelConfig, classes: int, *, pretrained: bool = True) -> Network:
    """Build a method's network.

    Args:
        config: its make.
        classes: number of classes.
        pretrained: False leaves the backbone's weights random, for a checkpoint to fill.

    Raises:
        UsageError, ArtifactError, WsolError: see `backbones.build`.
        MissingExtra: the method needs a package that is not installed.
    """
    if config.method in CONSTANTS:
        return ConstantNetwork(classes, config)
    backbone = backbones.build(
        config.backbone,
        weights=config.weights if pretrained else "none",
        output_stride=config.output_stride,
        last_stages=config.last_stages,
    )
    if config.method == "unet":
        return UNetNetwork(backbone, config)
    if config.method == "minmax":
        return MinMaxNetwork(backbone, classes, config)
    return CamNetwork(backbone, classes, config)
