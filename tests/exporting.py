"""A small real checkpoint and its exports for tests: made once a test session."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch

from wsol_deploy.card import ModelCard
from wsol_deploy.export import Exported, export_model
from wsol_deploy.model import checkpoint
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig

CONFIG = ModelConfig(
    backbone="efficientnet_lite0", weights="none", output_stride=16, last_stages="drop"
)
CLASSES = ["benign", "malignant"]


@cache
def folder() -> Path:
    """A folder that goes when the tests end."""
    path = Path(tempfile.mkdtemp(prefix="wsol-export-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def random_network(seed: int = 0) -> torch.nn.Module:
    """A network whose batch normalisation is not the identity, so that its folding is tested."""
    torch.manual_seed(seed)
    network = build(CONFIG, len(CLASSES))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def save_checkpoint(path: Path, seed: int = 0) -> Path:
    """A checkpoint with a card."""
    card = ModelCard(name="tiny", method="minmax", classes=CLASSES, model=CONFIG.model_dump())
    checkpoint.save(path, random_network(seed), card)
    return path


@cache
def a_checkpoint() -> Path:
    """The checkpoint of a run."""
    return save_checkpoint(folder() / "run" / "best.safetensors")


@cache
def exports() -> dict[str, Exported]:
    """Its exports, by format."""
    done = export_model(a_checkpoint(), ("onnx", "torchscript", "safetensors"))
    return {exported.kind: exported for exported in done}
