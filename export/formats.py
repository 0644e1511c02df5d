"""The formats an artifact can have, one module each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_deploy.artifacts import SUFFIXES, Format
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import UsageError
from wsol_deploy.export.shape import Shape

if TYPE_CHECKING:
    from wsol_deploy.model.deploy import DeployedModel

FORMATS: tuple[Format, ...] = tuple(SUFFIXES.values())
SUFFIX_OF = {kind: suffix for suffix, kind in SUFFIXES.items()}
Writer = Callable[[Path, ModelCard], None]


def convert(kind: Format, model: DeployedModel, shape: Shape) -> Writer:
    """Convert a model; the writer returned puts the artifact with a card at a path.

    Raises:
        WsolError: the model cannot be had in this format.
    """
    module = importlib.import_module(f"wsol_deploy.export.{kind}_format")
    return module.convert(model, shape)


def parse(name: str) -> Format:
    """The format of a name.

    Raises:
        UsageError: unknown.
    """
    for kind in FORMATS:
        if name.lower() == kind:
            return kind
    raise UsageError(f"--format {name}: no such format; known: {', '.join(FORMATS)}")
