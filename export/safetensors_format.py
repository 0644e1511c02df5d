"""safetensors: the checkpoint's weights with the exported card; runs where wsol-deploy is."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.card import ModelCard
from wsol_deploy.export.formats import Writer
from wsol_deploy.export.shape import Shape
from wsol_deploy.model import checkpoint
from wsol_deploy.model.deploy import DeployedModel


def convert(model: DeployedModel, shape: Shape) -> Writer:
    """The network's weights, without the graph."""

    def write(path: Path, card: ModelCard) -> None:
        checkpoint.save(path, model.network, card)

    return write
