"""What is damaged, foreign or not trusted: one clear line each, and no traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from exporting import a_checkpoint, exports
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wsol_deploy import integrity, runtime
from wsol_deploy.errors import ArtifactError, WsolError

KINDS = ("onnx", "torchscript", "pt2", "safetensors")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    source = exports()[kind].path
    content = source.read_bytes()
    cut = tmp_path / source.name
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError):
        runtime.load(cut, device="cpu", trust=True)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_harmless(
    tmp_path: Path, kind: str, place: float, bit: int
) -> None:
    source = exports()[kind].path
    content = bytearray(source.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    flipped = tmp_path / source.name
    flipped.write_bytes(content)
    try:
        found = runtime.load(flipped, device="cpu", trust=True)
    except WsolError:
        return
    batch = np.full((1, 40, 40, 3), 90, np.uint8)
    expected = runtime.load(source, device="cpu", trust=True).run(batch)
    assert np.array_equal(found.run(batch)["mask"], expected["mask"])


def test_a_changed_weight_in_the_onnx_is_seen(tmp_path: Path) -> None:
    source = exports()["onnx"].path
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged, or changed since"):
        integrity.check(path)
    integrity.check(source)


def test_a_bit_that_calls_a_torchscript_encrypted_is_seen(tmp_path: Path) -> None:
    content = bytearray(exports()["torchscript"].path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] ^= 1  # of the last entry in the directory
    path = tmp_path / "model.torchscript"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged, or changed since"):
        runtime.load(path, device="cpu", trust=True)


def test_the_seal_leaves_a_valid_onnx_file() -> None:
    onnx.checker.check_model(str(exports()["onnx"].path), full_check=True)


def _foreign_onnx(path: Path) -> Path:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "foreign", *zip(value))
    onnx.save(helper.make_model(graph), path)
    return path


def _newer_card(path: Path) -> Path:
    model = onnx.load(exports()["onnx"].path)
    for entry in model.metadata_props:
        if entry.key == "wsol":
            entry.value = json.dumps({**json.loads(entry.value), "schema_version": "2.0"})
    onnx.save(model, path)
    return path


def _of_another_version(path: Path) -> Path:
    return _with_model(path, {"bacbone": "resnet18"})


def _without_recipe(path: Path) -> Path:
    return _with_model(path, {})


def _with_model(path: Path, model: dict[str, str]) -> Path:
    with safe_open(a_checkpoint(), "pt") as opened:
        card = json.loads(opened.metadata()["wsol"])
    card["model"] = model
    save_file(load_file(a_checkpoint()), path, metadata={"wsol": json.dumps(card)})
    return path


def _bare_weights(path: Path) -> Path:
    save_file(load_file(a_checkpoint()), path)
    return path


@pytest.mark.parametrize(
    ("command", "make", "words"),
    [
        ("benchmark", _foreign_onnx, "no wsol model card"),
        ("benchmark", _newer_card, "schema 2.0"),
        ("info", _newer_card, "schema 2.0"),
        ("info", _foreign_onnx, "no wsol model card"),
        ("export", _of_another_version, "another version"),
        ("export", _without_recipe, "how its network is built"),
        ("export", _bare_weights, "wsol train wrote it"),
    ],
)
def test_one_line_and_exit_1(tmp_path: Path, command: str, make: object, words: str) -> None:
    suffix = ".safetensors" if command == "export" else ".onnx"
    path = make(tmp_path / f"model{suffix}")  # type: ignore[operator]
    done = _wsol(command, *(["-m"] if command == "export" else []), str(path))
    assert done.returncode == 1
    assert words in done.stderr
    assert str(path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("kind", ["torchscript", "pt2"])
def test_what_another_user_exported_asks_for_trust_whatever_lies_beside_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(exports()[kind].path, tmp_path)
    shutil.copy(exports()[kind].path.with_name("proof.json"), tmp_path)
    assert runtime.load(path, device="cpu").outputs, "exported here: it opens wherever it lies"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    with pytest.raises(ArtifactError, match=r"can run code.*--trust"):
        runtime.load(path, device="cpu")


def test_an_artifact_is_no_checkpoint_to_export() -> None:
    done = _wsol("export", "-m", str(exports()["onnx"].path))
    assert done.returncode == 1
    assert "checkpoint" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_is_no_folder_to_export_into(tmp_path: Path) -> None:
    done = _wsol("export", "-m", str(a_checkpoint()), "-o", str(tmp_path / "glands.onnx"))
    assert done.returncode == 2
    assert f"name a folder, as in -o {tmp_path / 'glands'}" in done.stderr
    assert not list(tmp_path.iterdir())


def _wsol(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("wsol")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
