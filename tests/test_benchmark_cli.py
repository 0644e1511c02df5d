"""`wsol benchmark`: every file beside PyTorch, and devices that never lie."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from artifacts import make_artifact
from exporting import a_checkpoint, exports, small_images

from wsol_deploy.export.bench import baseline_of, model_files
from wsol_deploy.runtime import devices


def _wsol(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("wsol")), "benchmark", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict:
    exports()
    return _measure(tmp_path_factory.mktemp("chart") / "speed.png")


def _measure(chart: Path) -> dict:
    done = _wsol(
        *(str(a_checkpoint()), str(exports()["onnx"].path), "--device", "cpu", "--json"),
        *("--data", str(small_images()), "--seconds", "0.2", "--chart", str(chart)),
    )
    assert done.returncode == 0, done.stderr
    assert "next: wsol predict" in done.stderr
    assert chart.stat().st_size > 5000
    return json.loads(done.stdout)


def test_every_file_is_measured_for_all_outputs_and_for_masks(measured: dict) -> None:
    rows = [(Path(row["file"]).suffix, row["outputs"]) for row in measured["rows"]]
    assert rows == [
        (".safetensors", "all"),
        (".onnx", "all"),
        (".safetensors", "mask"),
        (".onnx", "mask"),
    ]
    for row in measured["rows"]:
        assert row["device"] == "cpu"
        assert 0 < row["latency_ms"] <= row["p95_ms"]
        assert row["images_per_s"] > 0 and row["load_s"] > 0
        assert row["size_mb"] == Path(row["file"]).stat().st_size / 1e6
        assert row["memory_mb"] > 30
        assert row["speedup"] > 0


def test_masks_alone_cost_less_and_onnx_needs_less_memory(measured: dict, tmp_path: Path) -> None:
    by = {(row["format"], row["outputs"]): row for row in measured["rows"]}
    onnx, eager = by["ONNX Runtime", "all"], by["eager PyTorch", "all"]
    assert onnx["memory_mb"] < eager["memory_mb"]
    masks = by["ONNX Runtime", "mask"]["latency_ms"]
    if masks >= onnx["latency_ms"]:  # something else was running: once more
        again = _measure(tmp_path / "again.png")["rows"]
        by = {(row["format"], row["outputs"]): row for row in again}
        masks, onnx = by["ONNX Runtime", "mask"]["latency_ms"], by["ONNX Runtime", "all"]
    assert masks < onnx["latency_ms"]


def test_a_run_means_its_checkpoint_and_its_exports() -> None:
    exported = exports()
    found = model_files([str(a_checkpoint().parent)])
    kinds = ("onnx", "pt2", "torchscript")
    assert found == [a_checkpoint(), *(exported[kind].path for kind in kinds)]
    assert baseline_of([exported["onnx"].path]) == a_checkpoint()


def test_another_models_checkpoint_is_no_baseline(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "export"
    shutil.copytree(a_checkpoint().parent, tmp_path / "run", ignore=lambda *_: ["export"])
    other = make_artifact(folder / "model.onnx")
    assert baseline_of([other]) is None


def test_one_artifact_alone_has_no_ratios(tmp_path: Path) -> None:
    model = make_artifact(tmp_path / "tiny.onnx")
    done = _wsol(str(model), "--data", str(small_images()), "--seconds", "0.1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "tiny.onnx" in done.stdout
    assert done.stdout.split()[-1] == "-"


@pytest.mark.skipif(devices.gpus() > 0, reason="there is a GPU here")
def test_a_device_that_is_not_there_is_an_error_naming_what_lacks(tmp_path: Path) -> None:
    model = make_artifact(tmp_path / "tiny.onnx")
    done = _wsol(str(model), "--device", "cuda")
    assert done.returncode == 1
    assert devices.DRIVER in done.stderr
    assert len(done.stderr.splitlines()) == 1
