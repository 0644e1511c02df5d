"""`wsol quickstart` and `wsol info`, as a newcomer types them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")

from PIL import Image

from wsol_deploy.cli import quickstart
from wsol_deploy.datasets.synthetic import generate


def wsol(*words: object, cwd) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from wsol_deploy.cli import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.mark.slow
def test_quickstart_goes_all_the_way_on_a_folder_of_ones_own(tmp_path):
    data = generate(tmp_path / "data", size=64, train=8, valid=4, test=4).root
    done = wsol("quickstart", "--data", data, "-o", "out", "--epochs", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for command in ("train", "export", "evaluate", "predict"):
        assert f"$ wsol {command}" in done.stderr
    out = tmp_path / "out"
    assert {p.name for p in (out / "run" / "export").glob("model.*")} == {
        "model.onnx",
        "model.torchscript",
    }
    held_out = {path.relative_to(data / "test") for path in (data / "test").rglob("*.png")}
    masks = out / "masks" / "masks"
    assert {p.relative_to(masks).with_suffix("") for p in masks.rglob("*.png")} == held_out
    assert Image.open(out / "contact-sheet.png").width > 500
    assert "<html" in (out / "report.html").read_text()[:200].lower()

    info = wsol("info", out / "run" / "export" / "model.onnx", "--json", cwd=tmp_path)
    card = json.loads(info.stdout)
    assert card["classes"] == ["benign", "malignant"]
    assert card["recipe"]["loss"]["local"] == 1.0
    shown = wsol("info", out / "run", cwd=tmp_path)
    assert shown.returncode == 0
    assert "benign, malignant" in shown.stdout and "measured" in shown.stdout
    check_it_goes_on_where_it_was_stopped(out, data)


def check_it_goes_on_where_it_was_stopped(out, data):
    run, masks = out / "run", out / "masks"

    def goes_on(epochs=1, seed=0):
        return quickstart._stopped(run, data, epochs, seed, masks)

    assert not goes_on()  # it came to its end
    (run / "state.safetensors").touch()  # a later training of which there are no masks yet
    assert goes_on()
    assert not goes_on(epochs=2) and not goes_on(seed=1)
    assert first_step(data, out) == ["train", data, "--resume", "-o", run]
    assert "--overwrite" in first_step(data, out, overwrite=True)
    (masks / "manifest.json").touch()
    assert not goes_on()
    (masks / "manifest.json").unlink()  # stopped while predicting
    assert goes_on()
    (run / "recipe.toml").write_text("of = [another version")
    assert not goes_on()
    (run / "recipe.toml").unlink()
    assert not goes_on()


def first_step(data, out, **options):
    """Of the quickstart, which then is stopped."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt) as stop:
        patch.setattr(quickstart, "_step", raise_words)
        quickstart.quickstart(data, out, 1, 0, **options)
    return list(stop.value.args)


def raise_words(*words):
    raise KeyboardInterrupt(*words)


def test_quickstart_on_an_empty_folder_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    done = wsol("quickstart", "--data", "empty", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: empty")
    assert not (tmp_path / "quickstart" / "run").exists()
