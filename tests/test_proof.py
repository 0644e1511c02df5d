"""The proof sees every fault planted in a graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import save_checkpoint

from wsol_deploy.errors import ProofFailed
from wsol_deploy.export import export_model, formats
from wsol_deploy.model.deploy import DeployedModel


class SwappedChannels(DeployedModel):
    """BGR in place of RGB."""

    def normalise(self, image: torch.Tensor) -> torch.Tensor:
        return super().normalise(image.flip(3))


class WithoutNormalisation(DeployedModel):
    """Mean and standard deviation forgotten."""

    def normalise(self, image: torch.Tensor) -> torch.Tensor:
        return image.permute(0, 3, 1, 2).float() / 255


class OneSize(DeployedModel):
    """Works inside at one baked-in size."""

    def normalise(self, image: torch.Tensor) -> torch.Tensor:
        x = super().normalise(image)
        small = torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear")
        return torch.nn.functional.interpolate(small, size=x.shape[2:], mode="bilinear")


def changed_weight(model: DeployedModel) -> DeployedModel:
    weights = dict(model.network.localizer.named_parameters())["maps.weight"]
    changed = DeployedModel(_copy(model.network))
    with torch.no_grad():
        target = dict(changed.network.localizer.named_parameters())["maps.weight"]
        target[0, 0] += 10 * weights.abs().max()
    return changed


def _copy(network: torch.nn.Module) -> torch.nn.Module:
    import copy

    return copy.deepcopy(network)


FAULTS: dict[str, Callable[[DeployedModel], DeployedModel]] = {
    "changed weight": changed_weight,
    "swapped channels": lambda model: SwappedChannels(model.network),
    "missing normalisation": lambda model: WithoutNormalisation(model.network),
    "baked-in size": lambda model: OneSize(model.network),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save_checkpoint(tmp_path / "best.safetensors")
    right = formats.convert

    def wrong(kind: str, model: DeployedModel) -> formats.Writer:
        return right(kind, FAULTS[fault](model))

    monkeypatch.setattr(formats, "convert", wrong)
    with pytest.raises(ProofFailed, match=r"differs from PyTorch by .* on synthetic") as caught:
        export_model(checkpoint, ["torchscript"], tmp_path / "export")
    assert caught.value.exit_code == 4
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["proof.json"]
    entry = json.loads((tmp_path / "export" / "proof.json").read_text())["model.torchscript"]
    assert not entry["passed"]
    assert "sha256" not in entry
    assert max(values["max"] for values in entry["outputs"].values()) > entry["tolerance"]


def test_nan_is_a_difference() -> None:
    from wsol_deploy.export.proof import Difference

    apart = Difference()
    apart.add(np.zeros((1, 2)), np.array([[0.0, np.nan]]), "a case")
    assert apart.max == float("inf")
    assert apart.worst == "a case"


def test_another_shape_is_a_difference() -> None:
    from wsol_deploy.export.proof import Difference

    apart = Difference()
    apart.add(np.zeros((1, 2)), np.zeros((1, 3)), "a case")
    assert apart.max == float("inf")
