"""`wsol train` from the outside: files, exit codes, bad input."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_lines import one_line
from safetensors.torch import load_file, save_file
from training import write_images

from wsol_deploy.artifacts import read_card
from wsol_deploy.errors import ArtifactError
from wsol_deploy.model import checkpoint

PROCESS = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_what_no_validation_image_means_is_said_before_the_training(wsol, data, recipe, tmp_path):
    shutil.copytree(data / "train", tmp_path / "shapes" / "train")
    code, _, err = wsol(
        "train", tmp_path / "shapes", "--recipe", recipe, "--epochs", 1, "-o", tmp_path / "run",
        "--set", "data.valid_fraction=0",
    )  # fmt: skip
    assert code == 0, err
    note = err.index("note: no validation images, so neither the threshold nor what to review")
    assert note < err.index("epoch 1/1")
    assert err.count("note:") == 2


def test_a_run_and_what_is_in_it(wsol, data, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WSOL_RUNS", str(tmp_path / "runs"))
    code, out, err = wsol("train", data, "--recipe", recipe, "--epochs", 1)
    assert code == 0, err
    folder = Path(out.strip())
    assert folder.parent == tmp_path / "runs"
    assert folder.name.endswith(f"-minmax-{data.name}")
    assert {path.name for path in folder.iterdir()} == {
        "best.safetensors", "last.safetensors", "state.safetensors", "metrics.csv", "recipe.toml",
        "tensorboard", "data.txt",
    }  # fmt: skip
    assert "note: 2 updates in all, masks take about 360: --epochs 180" in err
    assert "epoch 1/1" in err
    assert "validation, 4 images: error" in err
    assert f"wsol export -m {folder}" in err
    code, out, err = wsol("train", data, "--recipe", recipe, "--epochs", 1, "-q")
    assert (code, err) == (0, "")
    assert Path(out.strip()) != folder


def test_options_win_over_set_and_set_over_the_recipe(wsol, data, recipe, tmp_path):
    sets = ["--set", "optim.batch_size=3", "--set", "optim.lr=0.5", "--set", "optim.clip=1"]
    code, _, err = wsol(
        "train", data, "--recipe", recipe, *sets, "--batch-size", 2, "--seed", 7,
        "--max-steps", 1, "--split", "stratified", "-o", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    stored = read_card(tmp_path / "run" / "best.safetensors").recipe
    assert (stored["optim"]["batch_size"], stored["optim"]["lr"]) == (2, 0.5)
    assert stored["training"]["seed"] == 7
    assert stored["data"]["split"] == "stratified"


def test_groups_never_straddle_splits(wsol, data, recipe, tmp_path):
    lines = ["image,label,patient"]
    for number, path in enumerate(sorted(data.glob("*/*/*.png"))):
        if "masks" not in path.parts:
            lines.append(f"{path},{path.parent.name},{number % 6}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    folder = tmp_path / "run"
    code, _, err = wsol(
        "train", table, "--recipe", recipe, "--group-column", "patient", "--max-steps", 1,
        "-o", folder,
    )  # fmt: skip
    assert code == 0, err
    assert read_card(folder / "best.safetensors").recipe["data"]["group_column"] == "patient"


def test_class_names_of_any_letters(wsol, recipe, tmp_path):
    root = write_images(tmp_path / "data")
    names = {"disc": "Grad 1, gutartig", "square": "悪性 腫瘍"}
    for split in ("train", "valid"):
        for old, new in names.items():
            (root / split / old).rename(root / split / new)
    code, _, err = wsol("train", root, "--recipe", recipe, "--max-steps", 1, "-o", tmp_path / "run")
    assert code == 0, err
    assert set(read_card(tmp_path / "run" / "best.safetensors").classes) == set(names.values())


@pytest.mark.skipif(os.name == "nt", reason="names of bytes")
@pytest.mark.parametrize("split", ["official", "hash"])
def test_names_of_any_bytes(wsol, recipe, tmp_path, split):
    root = write_images(tmp_path / "data", images=24)
    for path in [*root.rglob("*.png")]:
        path.rename(path.with_stem(os.fsdecode(b"b\xe4r ") + f"{path.parts[-3]} {path.stem}"))
    run, table, page = tmp_path / "run", tmp_path / "images.csv", tmp_path / "report.html"
    short = ["--recipe", recipe, "--epochs", 1, "--split", split]
    code, _, err = wsol("train", root, *short, "-o", run)
    assert code == 0, err
    model = run / "best.safetensors"
    told = ["--subset", "valid", "--bootstrap", 0, "--csv", table, "--report", page]
    code, _, err = wsol("evaluate", root, "-m", model, *told)
    assert code == 0, err
    assert b"b\xe4r" in table.read_bytes()
    assert "b\ufffdr" in page.read_text("utf-8")


def test_a_folder_that_holds_something(wsol, data, recipe, tmp_path):
    folder = tmp_path / "run"
    short = ["--recipe", recipe, "--max-steps", 1]
    wsol("train", data, *short, "-o", folder)
    code, _, err = wsol("train", data, *short, "-o", folder)
    assert code == 2
    assert "--overwrite" in one_line(err)
    (folder / "notes.txt").write_text("mine")
    code, _, err = wsol("train", data, *short, "-o", folder, "--overwrite")
    assert code == 0, err
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").write_text("mine")
    code, _, err = wsol("train", data, *short, "-o", tmp_path / "else", "--overwrite")
    assert code == 2
    assert "holds something that is no run" in one_line(err)
    code, _, err = wsol("train", data, *short, "-o", tmp_path / "else" / "thesis.tex")
    assert code == 2
    assert "is a file" in one_line(err)


def one_class(root: Path) -> Path:
    write_images(root)
    for split in ("train", "valid"):
        for path in (root / split / "square").iterdir():
            path.unlink()
        (root / split / "square").rmdir()
    return root


def empty(root: Path) -> Path:
    root.mkdir()
    return root


def no_data(root: Path) -> Path:
    root.mkdir()
    (root / "readme.txt").write_text("no images")
    return root


def broken_image(root: Path) -> Path:
    write_images(root)
    path = root / "train" / "disc" / "0.png"
    path.write_bytes(path.read_bytes()[:200])
    return root


def broken_images(root: Path) -> Path:
    write_images(root)
    for path in (root / "train" / "disc" / "0.png", root / "valid" / "disc" / "4.png"):
        path.write_bytes(path.read_bytes()[:200])
    return root


def broken_validation_image(root: Path) -> Path:
    write_images(root)
    path = root / "valid" / "disc" / "4.png"
    path.write_bytes(path.read_bytes()[:200])
    return root


def mask_of_another_size(root: Path) -> Path:
    write_images(root)
    path = sorted((root / "masks" / "valid" / "disc").iterdir())[0]
    cv2.imwrite(str(path), np.zeros((10, 10), np.uint8))
    return root


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (mask_of_another_size, "another size than its image"),
        (one_class, "only one class (disc)"),
        (empty, "the folder is empty"),
        (no_data, "a folder per class"),
        (broken_image, "0.png: damaged or cut short"),
        (broken_image, "repair it or take it out"),
        (broken_images, "2 of the 12 images to train with cannot be read; repair them or take"),
        (lambda root: root, "no such file or folder"),
    ],
    ids=[
        "mask-size",
        "one-class",
        "empty",
        "no-data",
        "broken-image",
        "mend",
        "broken-images",
        "missing",
    ],
)
def test_bad_data_is_one_line_and_leaves_no_checkpoint(wsol, recipe, tmp_path, make, words):
    folder = tmp_path / "run"
    code, out, err = wsol("train", make(tmp_path / "data"), "--recipe", recipe, "-o", folder)
    assert code == 1
    assert out == ""
    assert words in one_line(err)
    assert not list(folder.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "papr-glas"], "did you mean paper-glas?"),
        (["--set", "optim.learnrate=1"], "did you mean optim."),
        (["--set", "erasing.sigmma=1"], "did you mean erasing.sigma?"),
        (["--backbone", "resnet19"], "did you mean resnet18?"),
        (["--backbone", "vgg11", "--set", "model.last_stages=dilate"], "last_stages=drop"),
        (["--split", "weekly"], "data.split"),
        (["--device", "tpu"], "--device tpu"),
    ],
)
def test_bad_usage_is_exit_2(wsol, data, tmp_path, arguments, words):
    code, _, err = wsol("train", data, *arguments, "-o", tmp_path / "run")
    assert code == 2
    assert words in one_line(err)
    assert not (tmp_path / "run").exists()


def test_a_broken_validation_image_is_met_before_the_first_update(
    wsol, recipe, tmp_path, monkeypatch
):
    from wsol_deploy.train.updates import Updater

    updates = []
    monkeypatch.setattr(Updater, "update", lambda *arguments: updates.append(arguments))
    data = broken_validation_image(tmp_path / "data")
    code, _, err = wsol("train", data, "--recipe", recipe, "-o", tmp_path / "run")
    assert code == 1
    assert "4.png: damaged or cut short" in one_line(err)
    assert not updates


def test_weights_that_do_not_fit(wsol, data, recipe, tmp_path):
    import torch

    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    code, _, err = wsol("train", data, "--recipe", recipe, "--weights", path, "-o", tmp_path / "r")
    assert code == 1
    assert "tensors match this backbone" in one_line(err)


def test_a_missing_file_of_weights_costs_no_run(wsol, data, recipe, tmp_path):
    run = tmp_path / "run"
    for there in (False, True):
        if there:
            assert wsol("train", data, "--recipe", recipe, "--epochs", 1, "-o", run)[0] == 0
            before = (run / "best.safetensors").read_bytes()
        code, _, err = wsol("train", data, "--weights", "no.pth", "--overwrite", "-o", run)
        assert code == 1
        assert "no.pth: no such file of weights" in one_line(err)
        assert run.exists() == there
    assert (run / "best.safetensors").read_bytes() == before


def test_unwritable_output(wsol, data, recipe, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = wsol("train", data, "--recipe", recipe, "-o", tmp_path / "file" / "run")
    assert code == 1
    assert str(tmp_path / "file") in one_line(err)


def test_a_checkpoint_of_another_version(wsol, data, recipe, tmp_path):
    folder = tmp_path / "run"
    wsol("train", data, "--recipe", recipe, "--max-steps", 1, "-o", folder)
    path = folder / "best.safetensors"
    card, tensors = read_card(path), load_file(path)
    newer = json.loads(card.to_json()) | {"model": card.model | {"transformer": 3}}
    save_file(tensors, path, metadata={"wsol": json.dumps(newer)})
    with pytest.raises(ArtifactError, match="another version of wsol-deploy"):
        checkpoint.load(path)
    save_file(tensors, path, metadata={"wsol": json.dumps(newer | {"schema_version": "9.0"})})
    with pytest.raises(ArtifactError, match=r"schema 9\.0"):
        checkpoint.load(path)
