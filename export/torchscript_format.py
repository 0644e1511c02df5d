"""TorchScript, traced and frozen, for LibTorch and mobile code that has nothing newer yet.

torch deprecates torch.jit; this module is the one place that knows.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from wsol_deploy.card import CARD_KEY, ModelCard
from wsol_deploy.export.formats import Writer
from wsol_deploy.export.shape import Shape
from wsol_deploy.model.deploy import DeployedModel


def convert(model: DeployedModel, shape: Shape) -> Writer:
    """Convert to TorchScript: one forward on uint8 N x H x W x 3 that returns a tuple."""
    with _without_warnings(), torch.no_grad():
        traced = torch.jit.trace(model, shape.example(), check_trace=False)
        frozen = torch.jit.freeze(traced)

    def write(path: Path, card: ModelCard) -> None:
        with _without_warnings():
            torch.jit.save(frozen, str(path), _extra_files={CARD_KEY: card.to_json()})

    return write


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        yield
