"""A recipe's network, refused before a run's folder is made or replaced."""

from __future__ import annotations

import torch

from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig


def check_network(config: ModelConfig, classes: int) -> None:
    """Build the network without memory for its weights.

    Raises:
        UsageError: no such backbone, or not with this stride.
        MissingExtra: the method needs a package that is not installed.
    """
    with torch.device("meta"):
        build(config, classes, pretrained=False)
