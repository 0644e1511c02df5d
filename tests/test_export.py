"""`wsol export`: one file each format, the card inside, the same numbers as PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exporting import CLASSES, a_checkpoint, exports, quick, save_checkpoint, small_images

from wsol_deploy import runtime
from wsol_deploy.artifacts import read_card
from wsol_deploy.card import OUTPUTS
from wsol_deploy.errors import UsageError, WsolError
from wsol_deploy.export import export_model
from wsol_deploy.export.formats import parse
from wsol_deploy.model.deploy import load_deployed

FORMATS = ("onnx", "torchscript", "pt2", "safetensors")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 97, 61), (3, 50, 133)])
def test_the_artifact_gives_what_pytorch_gives(kind: str, shape: tuple[int, int, int]) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = load_deployed(a_checkpoint())(torch.from_numpy(batch))
    found = runtime.load(exports()[kind].path, device="cpu", trust=True).run(batch)
    assert tuple(found) == OUTPUTS
    for name, values in zip(OUTPUTS, expected, strict=True):
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], values.numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_card_is_in_every_artifact(kind: str) -> None:
    card = read_card(exports()[kind].path)
    assert card.classes == CLASSES
    assert tuple(card.outputs) == OUTPUTS
    assert card.weights_sha256 == read_card(a_checkpoint()).weights_sha256
    assert card.proof is not None and card.proof["passed"]
    assert torch.__version__.startswith(card.packages["torch"])


def test_the_onnx_is_one_file_of_the_asked_opset_without_traces_of_the_machine() -> None:
    path = exports()["onnx"].path
    model = onnx.load(path, load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    assert b"stack_trace" not in path.read_bytes()
    axes = [axis.dim_param or axis.dim_value for axis in _axes(model.graph.input[0])]
    assert axes == ["batch", "height", "width", 3]


def _axes(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def test_the_torchscript_runs_in_plain_torch_and_names_its_card() -> None:
    extra = {"wsol": ""}
    module = torch.jit.load(str(exports()["torchscript"].path), _extra_files=extra)
    mask = module(torch.zeros(2, 40, 56, 3, dtype=torch.uint8))[0]
    assert mask.shape == (2, 1, 40, 56)
    assert "schema_version" in str(extra["wsol"])


def test_the_pt2_runs_in_plain_torch() -> None:
    module = torch.export.load(exports()["pt2"].path).module()
    assert module(torch.zeros(1, 32, 45, 3, dtype=torch.uint8))[0].shape == (1, 1, 32, 45)


def test_the_exported_graph_has_no_batch_normalisation_left() -> None:
    model = onnx.load(exports()["onnx"].path)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    used = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert used.count("network.backbone.features.stages.0.0.weight") == 3, "one copy, three passes"


def test_nothing_is_left_aside() -> None:
    names = {path.name for path in exports()["onnx"].path.parent.iterdir()}
    artifacts = {"model.onnx", "model.torchscript", "model.pt2", "model.safetensors"}
    assert names == artifacts | {"proof.json", "proof.md"}


def test_an_artifact_is_not_replaced_unasked(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "best.safetensors")
    export_model(checkpoint, ["safetensors"], tmp_path, options=quick())
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(WsolError, match="--overwrite"):
        export_model(checkpoint, ["safetensors"], tmp_path, options=quick())
    assert (tmp_path / "model.safetensors").read_bytes() == before
    export_model(checkpoint, ["safetensors"], tmp_path, options=quick(), overwrite=True)


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"known: onnx, torchscript, pt2, safetensors"):
        parse("tflite")


def test_the_command(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "run" / "best.safetensors")
    words = ["--license", "CC-BY-4.0", "--author", "A. N. Author", "--description", "glands"]
    done = _wsol(
        *("export", "-m", str(checkpoint.parent), "--format", "torchscript"),
        *("--proof-data", str(small_images()), *words),
    )
    path = checkpoint.parent / "export" / "model.torchscript"
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(path)]
    assert done.stderr.splitlines()[-1].startswith("next: wsol predict")
    assert "Warning" not in done.stderr
    card = read_card(path)
    assert (card.licence, card.author, card.description) == ("CC-BY-4.0", "A. N. Author", "glands")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--format", "tflite"], 2, "no such format"),
        (["-m", "nowhere"], 1, "no such run"),
        (["--image-size", "20x20"], 2, "HEIGHTxWIDTH"),
        (["--half", "--int8"], 2, "choose one"),
        (["--int8", "--format", "pt2"], 2, "onnx alone"),
        (["--half", "--format", "safetensors"], 2, "no graph"),
        (["--force-int8"], 2, "go with --int8"),
        (["--proof-data", "nowhere"], 1, "nowhere"),
    ],
)
def test_a_wrong_command_costs_one_line(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = _wsol("export", "-m", str(a_checkpoint()), "-o", str(tmp_path), *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_model_in_a_triton_repository_is_met_before_the_export(tmp_path: Path) -> None:
    (tmp_path / "repository" / "tiny").mkdir(parents=True)
    done = _wsol(
        *("export", "-m", str(a_checkpoint()), "-o", str(tmp_path / "export")),
        *("--triton", str(tmp_path / "repository")),
    )
    assert done.returncode == 1
    assert "is there already; add --overwrite" in done.stderr
    assert not (tmp_path / "export").exists()


def _wsol(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("wsol")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
