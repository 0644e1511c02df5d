"""`wsol train` that is stopped, killed or out of disk, and goes on."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_lines import one_line
from safetensors.torch import load_file
from training import write_images

from wsol_deploy.artifacts import read_card
from wsol_deploy.train import finish

PROCESS = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


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
