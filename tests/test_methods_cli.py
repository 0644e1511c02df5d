"""Every method of Table 1 through the same commands: train, export, evaluate, predict."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training import tiny_recipe, write_images

from wsol_deploy.artifacts import read_card
from wsol_deploy.train.recipe_file import to_toml

CAM = {"mask", "probs", "class_maps"}
OUTPUTS = {
    "cam-avg": CAM, "cam-max": CAM, "cam-lse": CAM, "wildcat": CAM, "deep-mil": CAM,
    "unet": {"mask"}, "all-ones": {"mask", "probs"}, "centre-box": {"mask", "probs"},
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(to_toml(tiny_recipe()))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("method", OUTPUTS)
def test_trained_exported_evaluated_and_predicted(wsol, data, recipe, tmp_path, method):
    run, masks = tmp_path / "run", tmp_path / "masks"
    short = ["--recipe", recipe, "--method", method, "--max-steps", 2]
    code, _, err = wsol("train", data, *short, "-o", run)
    assert code == 0, err
    formats = ["--format", "onnx", "--format", "torchscript"]
    code, out, err = wsol("export", "-m", run, *formats)
    assert code == 0, err
    for path in out.split():
        card = read_card(path)
        assert (card.method, set(card.outputs)) == (method, OUTPUTS[method])
        assert card.proof["passed"]
    assert set(read_card(run / "best.safetensors").outputs) == OUTPUTS[method]
    model = run / "export" / "model.onnx"
    code, out, err = wsol("evaluate", data, "-m", model, "--subset", "valid", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert ("error" in found["metrics"]) == ("probs" in OUTPUTS[method])
    assert "f1_minus" in found["metrics"]
    code, _, err = wsol("predict", data / "valid", "-m", model, "-o", masks, "--save", "mask",
                        "--save", "jsonl")  # fmt: skip
    assert code == 0, err
    rows = [json.loads(line) for line in (masks / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert all((row["label"] in card.classes) == ("probs" in OUTPUTS[method]) for row in rows)
    assert all(row["background_entropy"] is None for row in rows)
    if method == "all-ones":
        assert all(np.asarray(Image.open(path)).min() == 255 for path in masks.rglob("*.png"))


def test_masks_missing_for_unet(wsol, data, recipe, tmp_path):
    root = write_images(tmp_path / "data")
    sorted((root / "masks" / "train" / "disc").iterdir())[0].unlink()
    code, _, err = wsol("train", root, "--recipe", recipe, "--method", "unet", "-o", tmp_path / "r")
    assert code == 1
    assert f"error: {root}: unet learns from masks, and 1 of the 12" in err
    assert "train/disc/0.png" in err
    assert not (tmp_path / "r").exists()


def test_options_that_mean_nothing(wsol, data, recipe, tmp_path):
    start = ["train", data, "--recipe", recipe, "-o", tmp_path / "r"]
    code, _, err = wsol(*start, "--method", "cam-avg", "--set", "erasing.u=2")
    assert (code, err) == (
        2, "error: erasing.u: means nothing to the method cam-avg; leave it out\n",
    )  # fmt: skip
    code, _, err = wsol(*start, "--method", "all-ones", "--backbone", "resnet18")
    assert (code, err) == (
        2, "error: model.backbone: means nothing to the method all-ones; leave it out\n",
    )  # fmt: skip


def test_the_extra_missing_for_unet(wsol, data, recipe, tmp_path, monkeypatch):
    decoder = "segmentation_models_pytorch.decoders.unet.decoder"
    monkeypatch.setitem(sys.modules, decoder, None)
    code, _, err = wsol("train", data, "--recipe", recipe, "--method", "unet", "-o", tmp_path / "r")
    assert code == 1
    assert "pip install 'wsol-deploy[unet]'" in err.splitlines()[-1]


def test_another_method_cannot_go_on_with_a_run(wsol, data, recipe, tmp_path):
    short = ["--recipe", recipe, "--max-steps", 1, "-o", tmp_path / "run"]
    assert wsol("train", data, *short, "--method", "all-ones")[0] == 0
    code, _, err = wsol("train", data, "--resume", "-o", tmp_path / "run", "--method", "cam-avg")
    assert code == 2
    assert "--resume takes the recipe of" in err
    code, _, err = wsol("train", data, "--resume", "-o", tmp_path / "run")
    assert code == 0, err
    assert "all-ones" in err


@pytest.mark.parametrize("method", ["all-ones", "centre-box"])
def test_a_constant_mask_by_the_default_recipe_to_the_end(wsol, data, tmp_path, method):
    code, _, err = wsol("train", data, "--method", method, "-o", tmp_path / "run")
    assert code == 0, err
    code, _, err = wsol("train", data, "--resume", "-o", tmp_path / "run")
    assert code == 0, err
