"""A small real checkpoint and its exports for tests: made once a test session."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from wsol_deploy.card import ModelCard
from wsol_deploy.export import Exported, Options, export_model, onnx_format
from wsol_deploy.model import checkpoint
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig

CONFIG = ModelConfig(backbone="resnet18", weights="none", output_stride=8, last_stages="drop")
CLASSES = ["benign", "malignant"]


@cache
def folder() -> Path:
    """A folder that goes when the tests end; the list of what the user exported is there, too."""
    path = Path(tempfile.mkdtemp(prefix="wsol-export-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    os.environ["XDG_STATE_HOME"] = str(path / "state")
    return path


def random_network(config: ModelConfig = CONFIG) -> torch.nn.Module:
    """A network whose batch normalisation is not the identity, so that its folding is tested."""
    torch.manual_seed(0)
    network = build(config, len(CLASSES))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def save_checkpoint(
    path: Path, recipe: dict[str, Any] | None = None, config: ModelConfig = CONFIG
) -> Path:
    """A checkpoint with a card."""
    card = ModelCard(
        name="tiny",
        method="minmax",
        classes=CLASSES,
        model=config.model_dump(),
        recipe=recipe or {},
    )
    checkpoint.save(path, random_network(config), card)
    return path


@cache
def a_checkpoint() -> Path:
    """The checkpoint of a run."""
    return save_checkpoint(folder() / "run" / "best.safetensors")


@cache
def small_images() -> Path:
    """Three small pictures without labels, the fewest pixels a proof can use."""
    rng = np.random.default_rng(7)
    path = folder() / "images"
    path.mkdir()
    for index, (height, width) in enumerate([(48, 64), (56, 40), (64, 72)]):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(path / f"{index}.png")
    return path


@cache
def quick() -> Options:
    """Options of an export that is proved on few pixels."""
    return Options(proof_data=small_images())


def graph_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next exports take the ONNX graph of the first: tracing is most of an export."""
    graph = onnx.load(exports()["onnx"].path)
    monkeypatch.setattr(onnx_format, "graph", lambda model, shape: graph)


@cache
def exports() -> dict[str, Exported]:
    """Its exports, by format."""
    kinds = ("onnx", "torchscript", "pt2", "safetensors")
    return {done.kind: done for done in export_model(a_checkpoint(), kinds, options=quick())}
