"""Checkpoints: weights in safetensors, the model card in its header."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from wsol_deploy.artifacts import read_card
from wsol_deploy.card import CARD_KEY, ModelCard
from wsol_deploy.errors import ArtifactError
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig


def digest(weights: dict[str, Tensor]) -> str:
    """sha256 over names, shapes and bytes of all tensors, in name order."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        sha.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def save(path: Path, network: nn.Module, card: ModelCard) -> ModelCard:
    """Write a checkpoint, whole or not at all.

    Returns:
        the card as written, with the sha256 of these weights.
    """
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    card = card.model_copy(update={"weights_sha256": digest(weights)})
    write_tensors(path, weights, {CARD_KEY: card.to_json()})
    return card


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file beside its place, then rename it there."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(tensors, aside, metadata=metadata)
        aside.chmod(0o644)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def load(path: Path | str) -> tuple[nn.Module, ModelCard]:
    """The network of a checkpoint, in evaluation mode, and its card.

    Raises:
        ArtifactError: damaged, not ours, of another version, or changed since it was written.
    """
    from safetensors.torch import load_file

    card = read_card(path)
    if not card.model:
        raise ArtifactError(
            f"{path}: its card does not say how its network is built; use the file that wsol train "
            "wrote"
        )
    try:
        config = ModelConfig.model_validate(card.model)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"{path}: written by another version of wsol-deploy (model.{field}: {first['msg']}); "
            "train it again or use the version it names in wsol info"
        ) from error
    network = build(config, len(card.classes), pretrained=False)
    try:
        weights = load_file(path)
    except Exception as error:  # a damaged file fails in as many ways as it can be damaged
        raise ArtifactError(
            f"{path}: damaged or cut short; copy it again ({_first_line(error)})"
        ) from error
    if card.weights_sha256 and digest(weights) != card.weights_sha256:
        raise ArtifactError(f"{path}: its weights are not those its card was written for")
    ours = network.state_dict()
    try:
        network.load_state_dict({name: weights[name] for name in weights if _read(name, ours)})
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: its network has other layers than its card says here "
            f"({_one_line(error)}); if another version of wsol-deploy wrote it, train it again or "
            "use the version it names in wsol info"
        ) from error
    return network.eval(), card


def _read(name: str, ours: Collection[str]) -> bool:
    """False for layers behind the deepest map that another release of timm leaves in backbones."""
    return name in ours or not name.startswith("backbone.")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120]


def _one_line(error: Exception) -> str:
    """The beginning of what torch says of layers that do not fit."""
    return " ".join(str(error).split())[:200]
