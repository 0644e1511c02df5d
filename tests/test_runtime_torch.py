"""TorchScript, `.pt2` and checkpoints through the same `load`, and who may run code."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from wsol_deploy import provenance
from wsol_deploy.card import CARD_KEY, OUTPUTS, ModelCard
from wsol_deploy.errors import ArtifactError
from wsol_deploy.runtime import load

torch = pytest.importorskip("torch")
CARD = ModelCard(name="script", method="m", classes=["a", "b"], outputs=dict.fromkeys(OUTPUTS, ""))
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


class Darkness(torch.nn.Module):
    """The contract in five lines: the mask is the darkness."""

    def forward(self, image):
        dark = 1 - image.permute(0, 3, 1, 2).float().mean(dim=1, keepdim=True) / 255
        share = dark.mean(dim=(1, 2, 3)).unsqueeze(1)
        probs = torch.cat([share, 1 - share], dim=1)
        maps = torch.cat([dark, 1 - dark], dim=1)[:, :, ::8, ::8]
        return dark, probs, probs, 1 - probs, maps


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "model.torchscript"
    traced = torch.jit.trace(Darkness(), torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    torch.jit.save(traced, str(path), _extra_files={CARD_KEY: CARD.to_json()})
    return path


def check(predictor) -> None:
    assert predictor.device == "cpu"
    prediction = predictor.predict(IMAGE)
    assert np.allclose(prediction.probability, 1 - IMAGE.mean(axis=2) / 255, atol=1e-5)
    assert prediction.label in ("a", "b")


def test_a_torchscript_file_needs_trust(script):
    with pytest.raises(ArtifactError, match=r"can run code when loaded.*--trust"):
        load(script)
    check(load(script, trust=True, device="cpu"))


def test_what_this_user_exported_opens_and_a_proof_beside_it_vouches_for_nothing(
    script, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    digest = hashlib.sha256(script.read_bytes()).hexdigest()
    script.with_name("proof.json").write_text(json.dumps({"sha256": digest}))
    with pytest.raises(ArtifactError, match="not exported here"):
        load(script)
    provenance.remember("of another file")
    with pytest.raises(ArtifactError, match="--trust"):
        load(script)
    provenance.remember(digest)
    check(load(script, device="cpu"))


def test_without_a_place_to_remember_an_export_goes_on(script, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    provenance.remember("digest")
    assert "--trust" in caplog.text
    assert not provenance.is_own(script)


def test_fewer_outputs(script):
    assert set(load(script, trust=True, outputs=("mask",)).run(IMAGE[None])) == {"mask"}


def test_a_damaged_torchscript_file(script, tmp_path):
    content = bytearray(script.read_bytes())
    damaged = tmp_path / "model.torchscript"
    start = content.find(b"code/")
    content[start + 60 : start + 160] = bytes(100)
    damaged.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match=r"model\.torchscript"):
        load(damaged, trust=True)


def test_a_pt2_file(tmp_path):
    path = tmp_path / "model.pt2"
    sizes = {n: torch.export.Dim(n, min=32, max=4096) for n in ("height", "width")}
    program = torch.export.export(
        Darkness(),
        (torch.zeros(2, 64, 48, 3, dtype=torch.uint8),),
        dynamic_shapes=({0: torch.export.Dim("batch"), 1: sizes["height"], 2: sizes["width"]},),
    )
    torch.export.save(program, path, extra_files={CARD_KEY: CARD.to_json()})
    with pytest.raises(ArtifactError, match="--trust"):
        load(path)
    check(load(path, trust=True, device="cpu"))


def test_a_checkpoint_gives_what_its_network_gives(tmp_path):
    from wsol_deploy.model.build import build
    from wsol_deploy.model.checkpoint import save
    from wsol_deploy.model.config import ModelConfig
    from wsol_deploy.model.deploy import DeployedModel

    torch.manual_seed(0)
    config = ModelConfig(backbone="mobilenet_v2", weights="none")
    network = build(config, 2)
    card = ModelCard(name="c", method="minmax", classes=["a", "b"], model=config.model_dump())
    save(tmp_path / "best.safetensors", network, card)
    predictor = load(tmp_path / "best.safetensors", device="cpu")
    assert predictor.outputs == OUTPUTS
    with torch.inference_mode():
        expected = DeployedModel(network)(torch.from_numpy(IMAGE[None]))
    for name, value in zip(OUTPUTS, expected, strict=True):
        assert np.allclose(predictor.run(IMAGE[None])[name], value.numpy(), atol=1e-6)
    assert load(tmp_path / "best.safetensors", outputs=("mask",)).outputs == ("mask",)


def test_a_gpu_that_torch_cannot_use_is_an_error(script, monkeypatch):
    from wsol_deploy.runtime import devices

    monkeypatch.setattr(devices, "gpus", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(devices.DeviceError, match="this torch"):
        load(script, trust=True, device="cuda")
    assert load(script, trust=True, device="auto").device == "cpu"
