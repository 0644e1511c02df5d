"""The proof sees every fault planted in a graph."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import a_checkpoint, exports, quick, save_checkpoint, small_images

from wsol_deploy import runs, runtime
from wsol_deploy.artifacts import Format, read_card
from wsol_deploy.datasets import synthetic
from wsol_deploy.errors import DataError, ProofFailed
from wsol_deploy.export import Options, Shape, export_model, formats, proof_data
from wsol_deploy.export.proof import LIMITS, Agreement, Difference
from wsol_deploy.export.prove import prove
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
    """One weight of the localizer is another."""
    changed = DeployedModel(copy.deepcopy(model.network))
    with torch.no_grad():
        weight = changed.network.localizer.maps.weight
        weight[0, 0] += 10 * weight.abs().max()
    return changed


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
    right = formats.convert

    def wrong(kind: Format, model: DeployedModel, shape: Shape) -> formats.Writer:
        return right(kind, FAULTS[fault](model), shape)

    monkeypatch.setattr(formats, "convert", wrong)
    with pytest.raises(ProofFailed, match=r"differs from PyTorch by .* on \d\.png") as caught:
        export_model(a_checkpoint(), ["torchscript"], tmp_path, options=quick())
    assert caught.value.exit_code == 4
    assert {path.name for path in tmp_path.iterdir()} == {"proof.json", "proof.md"}
    entry = json.loads((tmp_path / "proof.json").read_text())["not_kept"]["model.torchscript"]
    assert not entry["passed"]
    assert "sha256" not in entry
    worst, apart = max(entry["outputs"].items(), key=lambda item: item[1]["relative"])
    assert entry["failure"].startswith(worst)
    assert apart["max"] >= apart["relative"] > entry["limits"]["difference"]
    assert entry["failure"] in (tmp_path / "proof.md").read_text()


def test_a_failed_export_leaves_the_older_file_and_its_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_model(a_checkpoint(), ["torchscript"], tmp_path, options=quick())
    before = (tmp_path / "model.torchscript").read_bytes()
    right = formats.convert
    monkeypatch.setattr(
        formats,
        "convert",
        lambda kind, model, shape: right(kind, SwappedChannels(model.network), shape),
    )
    with pytest.raises(ProofFailed):
        export_model(a_checkpoint(), ["torchscript"], tmp_path, overwrite=True, options=quick())
    assert (tmp_path / "model.torchscript").read_bytes() == before
    digest = hashlib.sha256(before).hexdigest()
    entries = json.loads((tmp_path / "proof.json").read_text())
    assert entries["artifacts"]["model.torchscript"]["sha256"] == digest


def test_the_proof_is_on_odd_sizes_and_batches_too() -> None:
    seen: list[tuple[int, ...]] = []

    class Watched:
        def __init__(self, inner: runtime.Predictor) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            seen.append(batch.shape[:3])
            return self.inner.run(batch)

    artifact = runtime.load(exports()["onnx"].path, device="cpu")
    data = proof_data.validation(artifact.card, artifact.path, small_images())
    reference = runtime.load(a_checkpoint(), device="cpu")
    prove(Watched(reference), artifact, data, LIMITS["float32"], {})  # type: ignore[arg-type]
    assert seen == [(1, 48, 64), (1, 56, 40), (1, 64, 72), (1, 32, 32), (2, 127, 191), (3, 64, 72)]


def test_labelled_images_give_the_metrics_of_both(tmp_path: Path) -> None:
    data = synthetic.generate(tmp_path / "data", size=64, train=8, valid=4, test=4)
    checkpoint = save_checkpoint(tmp_path / "best.safetensors", {"data": {"split": "official"}})
    runs.remember_data(tmp_path, data.root)
    (done,) = export_model(checkpoint, ["torchscript"])
    proof = done.proof
    assert "valid images" in proof.data and proof.data.startswith("4 of")
    assert set(proof.metrics["pytorch"]) == {"error", "f1_plus", "f1_minus"}
    assert proof.metrics["artifact"] == pytest.approx(proof.metrics["pytorch"], abs=0.01)
    card = read_card(done.path)
    assert card.proof is not None and card.proof["metrics"] == proof.metrics
    assert str(tmp_path) not in card.to_json(), "where the data lies stays at home"


def test_a_folder_without_images_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"):
        export_model(a_checkpoint(), ["onnx"], tmp_path, options=Options(proof_data=tmp_path))


@pytest.mark.parametrize("found", [np.array([[0.0, np.nan]]), np.zeros((1, 3))])
def test_nan_and_another_shape_are_differences(found: np.ndarray) -> None:
    apart = Difference()
    apart.add(np.zeros((1, 2)), found, "a case")
    assert apart.max == apart.relative == float("inf")
    assert apart.worst == "a case"


@pytest.mark.parametrize("expected", [np.nan, np.inf])
def test_what_pytorch_itself_does_not_know_is_a_difference(expected: float) -> None:
    for found in (0.0, expected):
        apart = Difference()
        apart.add(np.array([[expected, 1.0]]), np.array([[found, 1.0]]), "a case")
        assert apart.relative == float("inf")


def test_large_values_may_differ_in_proportion_and_are_reported_as_they_are() -> None:
    apart = Difference()
    apart.add(np.array([1000.0, 0.0]), np.array([1000.05, 0.0]), "scores")
    apart.add(np.array([0.5, 0.0]), np.array([0.5002, 0.0]), "shares")
    assert apart.max == pytest.approx(0.05)
    assert apart.relative == pytest.approx(2e-4) and apart.worst == "shares"


def test_masks_without_foreground_are_not_called_alike() -> None:
    agreement = Agreement()
    outputs = {"mask": np.zeros((1, 1, 4, 4)), "probs": np.array([[0.2, 0.8]])}
    agreement.add(outputs, outputs, 0.5)
    assert agreement.masks == "no mask has any foreground"
