"""`wsol train` from the outside: files, exit codes, Ctrl-C, a killed process, bad input."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_lines import one_line
from safetensors.torch import load_file, save_file
from training import tiny_recipe, write_images

from wsol_deploy.artifacts import read_card
from wsol_deploy.errors import ArtifactError
from wsol_deploy.model import checkpoint
from wsol_deploy.train import finish
from wsol_deploy.train.recipe_file import to_toml

PROCESS = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(to_toml(tiny_recipe()))
    return str(path)


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
    assert "note: 2 updates in all, masks take about 400: --epochs 200" in err
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


def start(*arguments: object, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*PROCESS, *map(str, arguments)], env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen) -> None:
    until = time.monotonic() + 600
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted_to_the_bit(wsol, data, recipe, tmp_path):
    long = ["--recipe", recipe, "--epochs", 12, "--batch-size", 1]
    code, _, err = wsol("train", data, *long, "-o", tmp_path / "whole")
    assert code == 0, err
    cut = start("train", data, *long, "-o", tmp_path / "cut", "-q")
    state = tmp_path / "cut" / "state.safetensors"
    wait_for(state, cut)
    time.sleep(random.uniform(0, 0.5))
    cut.send_signal(signal.SIGKILL)
    assert cut.wait() == -signal.SIGKILL, "it must not have been finished"
    resumed = start("train", data, "--resume", "-o", tmp_path / "cut")
    _, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert "epoch 12/12" in err
    assert "epoch 1/12" not in err
    for name in ("last", "best", "state"):
        one, other = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "cut"))
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)
    assert not list((tmp_path / "cut").glob(".*"))


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(wsol, data, recipe, tmp_path):
    folder = tmp_path / "run"
    long = ["--recipe", recipe, "--epochs", 2000, "--batch-size", 1, "--max-steps", 99999]
    process = start("train", data, *long, "-o", folder)
    wait_for(folder / "state.safetensors", process)
    for again in ("--resume", "--overwrite"):
        code, _, told = wsol("train", data, again, "-o", folder)
        assert code == 1
        assert "another wsol train is writing to it" in one_line(told)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "finishing what is in flight; Ctrl-C again stops at once" in err
    assert f"go on with: wsol train {data} --resume -o {folder} --max-steps 99999" in err
    assert "Traceback" not in err
    assert read_card(folder / "last.safetensors").method == "minmax"


def test_ctrl_c_after_the_last_update_is_heard(wsol, data, recipe, tmp_path, monkeypatch):
    calibrate = finish.calibrate_checkpoint

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return calibrate(*arguments)

    monkeypatch.setattr(finish, "calibrate_checkpoint", interrupted)
    code, out, err = wsol(
        "train", data, "--recipe", recipe, "--max-steps", 1, "-o", tmp_path / "run"
    )
    assert "weights of epoch 1;" in err
    assert (code, out.strip()) == (130, str(tmp_path / "run"))
    assert read_card(tmp_path / "run" / "best.safetensors").threshold.chosen_on != "default"


def test_resume_takes_the_runs_recipe(wsol, data, recipe, tmp_path):
    folder = tmp_path / "run"
    wsol("train", data, "--recipe", recipe, "--max-steps", 1, "-o", folder)
    for arguments in (["--set", "optim.lr=1"], ["--recipe", "default"], ["--seed", 3]):
        code, _, err = wsol("train", data, "--resume", "-o", folder, *arguments)
        assert code == 2
        assert "--resume takes the recipe of" in one_line(err)
    code, _, err = wsol("train", data, "--resume", "-o", folder, "--epochs", 3)
    assert code == 0, err
    assert len((folder / "metrics.csv").read_text().splitlines()) == 4


def test_resume_takes_the_newest_run(wsol, data, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WSOL_RUNS", str(tmp_path))
    code, _, err = wsol("train", data, "--resume")
    assert code == 2
    assert f"no run of {data} to go on with" in one_line(err)
    other = write_images(tmp_path / "data" / "other", seed=1)
    short = ["--recipe", recipe, "--max-steps", 1]
    for name, images in (("old", data), ("new", data), ("of-other", other)):
        wsol("train", images, *short, "-o", tmp_path / name)
    failed = wsol("train", data, *short, "--weights", "none.pth", "-o", tmp_path / "failed")
    assert failed[0] == 1
    code, out, err = wsol("train", data, "--resume")
    assert (code, out.strip()) == (0, str(tmp_path / "new")), err


def test_resume_with_other_data_changes_nothing(wsol, data, recipe, tmp_path):
    folder = tmp_path / "run"
    wsol("train", data, "--recipe", recipe, "--max-steps", 1, "-o", folder)
    before = {name: (folder / name).read_bytes() for name in ("data.txt", "recipe.toml")}
    other = write_images(tmp_path / "other", seed=1)
    code, _, err = wsol("train", other, "--resume", "--epochs", 3, "-o", folder)
    assert code == 1
    assert "have changed since this run was started" in one_line(err)
    assert {name: (folder / name).read_bytes() for name in before} == before


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


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_nothing_half_written(data, recipe, tmp_path):
    folder = tmp_path / "run"
    process = start(
        "train", data, "--recipe", recipe, "-o", folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    _, err = process.communicate()
    assert process.returncode == 1
    assert "the run cannot be written" in one_line(err)
    assert "--resume" in err
    assert not list(folder.glob("*.safetensors"))
    assert not list(folder.glob(".*"))


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
