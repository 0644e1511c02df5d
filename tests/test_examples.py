"""The examples run as they are written, and give the masks that the product gives."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from artifacts import make_artifact
from exporting import exports
from PIL import Image

from wsol_deploy import runtime
from wsol_deploy.card import SizePolicy

EXAMPLES = Path(__file__).parents[1] / "examples"
PREDICT = EXAMPLES / "python" / "predict.py"
MOST_APART = 0.001


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(11)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    path = tmp_path_factory.mktemp("picture") / "field 1.png"
    coarse.resize((141, 103), Image.Resampling.BICUBIC).save(path)
    return path


def _apart(model: Path, picture: Path, mask: Path) -> float:
    expected = runtime.load(model, device="cpu", trust=True).predict(picture).mask
    found = np.asarray(Image.open(mask).convert("L"))
    assert found.shape == expected.shape
    assert set(np.unique(found)) <= {0, 255}
    return float((expected != (found > 0)).mean())


def _python(model: Path, picture: Path, output: Path) -> dict:
    command = [sys.executable, str(PREDICT), str(model), str(picture), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_the_python_example_needs_three_packages_only() -> None:
    tree = ast.parse(PREDICT.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "PIL"}


def test_the_python_example_gives_our_mask(picture: Path, tmp_path: Path) -> None:
    model = exports()["onnx"].path
    said = _python(model, picture, tmp_path)
    expected = runtime.load(model, device="cpu").predict(picture)
    assert said["label"] == expected.label
    assert said["foreground"] == pytest.approx(expected.foreground_fraction, abs=MOST_APART)
    assert _apart(model, picture, tmp_path / "field 1.png") <= MOST_APART


@pytest.mark.parametrize("mode", ["shorter-side", "longer-side"])
@pytest.mark.parametrize("size", [64, 200])
def test_the_python_example_follows_the_size_policy(
    picture: Path, tmp_path: Path, mode: str, size: int
) -> None:
    policy = SizePolicy(mode=mode, size=size)  # type: ignore[arg-type]
    model = make_artifact(tmp_path / "model.onnx", size=policy)
    _python(model, picture, tmp_path)
    assert _apart(model, picture, tmp_path / "field 1.png") <= MOST_APART


def test_the_python_example_takes_a_model_of_masks_alone(picture: Path, tmp_path: Path) -> None:
    model = make_artifact(tmp_path / "model.onnx", outputs=("mask",))
    said = _python(model, picture, tmp_path)
    assert set(said) == {"image", "foreground"}
    assert _apart(model, picture, tmp_path / "field 1.png") <= MOST_APART


@pytest.mark.slow
def test_the_cpp_example_builds_and_gives_our_mask(picture: Path, tmp_path: Path) -> None:
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("no cmake or no C++ compiler here")
    import torch

    build = tmp_path / "build"
    root = Path(torch.__file__).parent
    for command in (
        ["cmake", "-S", EXAMPLES / "cpp", "-B", build, f"-DTORCH_ROOT={root}"],
        ["cmake", "--build", build],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    image, mask = tmp_path / "image.ppm", tmp_path / "mask.pgm"
    Image.open(picture).save(image)
    model = exports()["torchscript"].path
    program = build / "predict"
    done = subprocess.run(
        [program, model, image, mask], capture_output=True, text=True, check=True, timeout=60
    )
    said = dict(line.split("\t") for line in done.stdout.splitlines())
    expected = runtime.load(model, device="cpu", trust=True).predict(picture)
    assert expected.probs is not None
    for name, value in zip(expected.classes, expected.probs, strict=True):
        assert float(said[name]) == pytest.approx(float(value), abs=1e-4)
    assert _apart(model, picture, mask) <= MOST_APART
    failed = subprocess.run([program, image, image, mask], capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stderr.startswith("error: ")
