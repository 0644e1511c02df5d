"""Cards are read without torch or onnx; damaged, foreign and newer files are refused by name."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zipfile

import onnx
import pytest
from artifacts import make_artifact
from onnx import TensorProto, helper

from wsol_deploy.artifacts import read_card
from wsol_deploy.card import CARD_KEY, ModelCard, SizePolicy
from wsol_deploy.errors import ArtifactError
from wsol_deploy.runtime import load


@pytest.fixture
def artifact(tmp_path):
    return make_artifact(tmp_path / "model.onnx")


def safetensors_with(header: dict) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def test_the_card_of_an_onnx_file(artifact):
    card = read_card(artifact)
    assert card.classes == ["benign", "malignant"]
    assert card.threshold.value == 0.5


def test_the_card_of_other_formats(tmp_path):
    card = ModelCard(name="n", method="m", classes=["a b", "красный"]).to_json()
    (tmp_path / "m.safetensors").write_bytes(safetensors_with({"__metadata__": {CARD_KEY: card}}))
    for name in ("m.torchscript", "m.pt2"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(f"m/extra/{CARD_KEY}", card)
    for name in ("m.safetensors", "m.torchscript", "m.pt2"):
        assert read_card(tmp_path / name).classes == ["a b", "красный"]


def test_a_card_is_read_with_neither_torch_nor_onnx(artifact):
    code = (
        "import sys; from wsol_deploy.artifacts import read_card; "
        f"read_card({str(artifact)!r}); print({{'torch', 'onnx'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_foreign_onnx(tmp_path):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([], "g", [value], [value])
    onnx.save(helper.make_model(graph), tmp_path / "foreign.onnx")
    with pytest.raises(ArtifactError, match=r"foreign\.onnx: no wsol model card"):
        load(tmp_path / "foreign.onnx")


def test_unknown_suffix_and_missing_file(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"known suffixes: \.onnx"):
        load(tmp_path / "model.bin")
    with pytest.raises(ArtifactError, match="no such model file"):
        load(tmp_path / "none.onnx")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_cut_onnx_file_is_an_artifact_error(artifact, share):
    content = artifact.read_bytes()
    artifact.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        load(artifact)


def test_noise_is_an_artifact_error(artifact):
    content = bytearray(artifact.read_bytes())
    content[100:600] = bytes(500)
    artifact.write_bytes(bytes(content))
    with pytest.raises(ArtifactError):
        load(artifact, device="cpu")


@pytest.mark.parametrize(
    ("version", "why"),
    [("2.0", r"its card has schema 2\.0"), ("", "no wsol model card"), ("x.1", "no wsol")],
)
def test_other_schemas_are_refused_by_name(version, why):
    text = json.dumps({"schema_version": version, "name": "n", "method": "m", "classes": []})
    with pytest.raises(ArtifactError, match=why):
        ModelCard.from_json(text)


def test_a_newer_minor_version_keeps_its_fields():
    text = '{"schema_version": "1.9", "name": "n", "method": "m", "classes": ["a"], "new": 3}'
    assert json.loads(ModelCard.from_json(text).to_json())["new"] == 3


def test_a_bad_field_is_named():
    card = {"schema_version": "1.0", "name": "n", "method": "m", "classes": ["a"]}
    text = json.dumps(card | {"threshold": {"value": 2}})
    with pytest.raises(ArtifactError, match=r"threshold\.value"):
        ModelCard.from_json(text)


@pytest.mark.parametrize(
    ("policy", "size", "target"),
    [
        (SizePolicy(), (100, 200), (100, 200)),
        (SizePolicy(), (1, 200), (32, 200)),
        (SizePolicy(mode="shorter-side", size=224), (448, 600), (224, 300)),
        (SizePolicy(mode="longer-side", size=300), (448, 600), (224, 300)),
        (SizePolicy(mode="longer-side", size=64), (10, 640), (32, 64)),
    ],
)
def test_size_policies(policy, size, target):
    assert policy.target(*size) == target
