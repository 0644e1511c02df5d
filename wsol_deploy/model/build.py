"""A network from its configuration."""

from __future__ import annotations

from wsol_deploy.model import backbones
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.minmax import MinMaxNetwork


def build(config: ModelConfig, classes: int, *, pretrained: bool = True) -> MinMaxNetwork:
    """Build a network.

    Args:
        config: its make.
        classes: number of classes.
        pretrained: False leaves the backbone's weights random, for a checkpoint to fill.

    Raises:
        UsageError, ArtifactError, WsolError: see `backbones.build`.
    """
    backbone = backbones.build(
        config.backbone,
        weights=config.weights if pretrained else "none",
        output_stride=config.output_stride,
        last_stages=config.last_stages,
    )
    return MinMaxNetwork(backbone, classes, config)
