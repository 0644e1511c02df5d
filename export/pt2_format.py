"""`.pt2`, torch.export's archive: what comes after TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram
from torch.utils._sympy.value_ranges import ValueRanges

from wsol_deploy.card import CARD_KEY, MIN_SIDE, ModelCard
from wsol_deploy.export.formats import Writer
from wsol_deploy.export.shape import Shape
from wsol_deploy.model.deploy import DeployedModel


def convert(model: DeployedModel, shape: Shape) -> Writer:
    """Convert by torch.export."""
    axes = dict.fromkeys(shape.dynamic, Dim.DYNAMIC)
    with torch.no_grad():
        program = torch.export.export(model, (shape.example(),), dynamic_shapes=(axes,))
    _widen(program, shape)

    def write(path: Path, card: ModelCard) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program, path, extra_files={CARD_KEY: card.to_json()})

    return write


def _widen(program: ExportedProgram, shape: Shape) -> None:
    """Let the program take one image, and sides from 32 up.

    torch.export takes an axis of length 1 for another program, and so refuses single images and
    sides whose deepest map has one row. The graph computes them all the same: the proof runs it.
    """
    program._guards_code = []
    lowest = {"batch": 1, "height": MIN_SIDE, "width": MIN_SIDE}
    image = next(node for node in program.graph.nodes if node.name == "image")
    for axis, name in shape.dynamic.items():
        symbol = image.meta["val"].shape[axis].node.expr
        upper = program.range_constraints[symbol].upper
        program.range_constraints[symbol] = ValueRanges(lowest[name], upper)
