"""Two processes under torchrun equal one with the doubled batch."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from training import tiny_recipe, write_images

from wsol_deploy.train.recipe_file import to_toml

WSOL = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
TORCHRUN = [
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python",
    "--nproc-per-node", "2",
]  # fmt: skip


def train(launcher: list[str], data: Path, recipe: Path, folder: Path, batch_size: int) -> str:
    command = [
        *launcher, *WSOL, "train", str(data), "--recipe", str(recipe), "-o", str(folder),
        "--batch-size", str(batch_size), "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mask_gradient", ["detached", "attached"])
def test_two_processes_equal_one_with_the_doubled_batch(tmp_path, mask_gradient):
    data = write_images(tmp_path / "data", images=24)  # 18 to train: the last update has 2
    recipe = tmp_path / "recipe.toml"
    options = tiny_recipe(
        model={"dropout": 0.0},
        erasing={"u": 2, "mask_gradient": mask_gradient},
        optim={"accumulate": 2, "clip": 0.5},
        training={"ema": 0.5},
    )
    recipe.write_text(to_toml(options))
    out = train(TORCHRUN, data, recipe, tmp_path / "two", batch_size=1)
    train([], data, recipe, tmp_path / "one", batch_size=2)
    assert out.split() == [str(tmp_path / "two")], "one process speaks"
    for name in ("last.safetensors", "best.safetensors", "state.safetensors"):
        one, two = (load_file(tmp_path / run / name) for run in ("one", "two"))
        assert one.keys() == two.keys()
        for key in one:
            assert float((one[key].double() - two[key].double()).abs().max()) < 1e-5, key
    one, two = (
        list(csv.DictReader((tmp_path / run / "metrics.csv").open())) for run in ("one", "two")
    )
    for column in ("train_localizer", "train_foreground", "train_passes", "valid_loss"):
        assert [float(row[column]) for row in one] == pytest.approx(
            [float(row[column]) for row in two], abs=1e-5
        )
