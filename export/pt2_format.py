"""`.pt2`, torch.export's archive: what comes after TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch.export import Dim

from wsol_deploy.card import CARD_KEY, ModelCard
from wsol_deploy.export.example import example
from wsol_deploy.export.formats import Writer
from wsol_deploy.model.deploy import DeployedModel


def convert(model: DeployedModel) -> Writer:
    """Convert by torch.export, with N, H and W dynamic."""
    axes = dict.fromkeys(range(3), Dim.DYNAMIC)
    with torch.no_grad():
        program = torch.export.export(model, (example(),), dynamic_shapes=(axes,))

    def write(path: Path, card: ModelCard) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program, path, extra_files={CARD_KEY: card.to_json()})

    return write
