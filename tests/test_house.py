"""The house: one package, nothing else installed, and who may import whom."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True, text=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return archive.namelist()


@pytest.mark.slow
def test_wheel_installs_one_package_and_nothing_else(wheel):
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"wsol_deploy"}


@pytest.mark.slow
def test_wheel_holds_every_module_and_recipe(wheel):
    rooms = {"train": "wsol_deploy/train", "export": "wsol_deploy/export"}
    rooms |= {"demo": "wsol_deploy/demo", "wsol_deploy": "wsol_deploy"}
    expected = {
        f"{inside}/{path.relative_to(ROOT / room)}"
        for room, inside in rooms.items()
        for pattern in ("*.py", "*.toml", "*.css", "*.js")
        for path in (ROOT / room).rglob(pattern)
    }
    assert expected <= set(wheel)


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("wsol_deploy", ("torch", "onnx", "onnxruntime", "gradio")),
        ("wsol_deploy.cli", ("torch", "numpy", "onnxruntime", "gradio", "cv2")),
        ("wsol_deploy.card", ("torch", "onnx")),
        ("wsol_deploy.artifacts", ("torch", "onnx")),
        ("wsol_deploy.datasets", ("torch",)),
        ("wsol_deploy.runtime", ("torch", "wsol_deploy.train", "wsol_deploy.export")),
        ("wsol_deploy.batch", ("torch", "wsol_deploy.train")),
        ("wsol_deploy.evaluation", ("torch", "wsol_deploy.train")),
        ("wsol_deploy.demo.app", ("torch", "wsol_deploy.train", "wsol_deploy.export")),
    ],
)
def test_importing_a_room_brings_in_only_what_it_may(module, never):
    code = f"import sys, {module}; print([n for n in {never!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_help_names_every_command():
    done = subprocess.run(
        [sys.executable, "-c", "from wsol_deploy.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    for command in ("train", "evaluate", "export", "predict", "demo", "info", "quickstart"):
        assert command in done.stdout
