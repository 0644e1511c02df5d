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

from wsol_deploy.datasets import open_dataset
from wsol_deploy.train.finish import calibrate_checkpoint
from wsol_deploy.train.loop import train
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.recipe_file import to_toml

WSOL = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
TORCHRUN = [
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python",
    "--nproc-per-node", "2",
]  # fmt: skip


def torchrun(data: Path, recipe: Recipe, folder: Path) -> str:
    """Train in two processes; what they print."""
    file = folder.with_suffix(".toml")
    file.write_text(to_toml(recipe))
    command = [*TORCHRUN, *WSOL, "train", data, "--recipe", file, "-o", folder, "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(tmp_path):
    data = write_images(tmp_path / "data", images=24)  # 18 to train: the last update has 2
    recipe = {
        size: tiny_recipe(
            model={"dropout": 0.0},
            erasing={"u": 2, "mask_gradient": "attached"},
            optim={"accumulate": 2, "clip": 0.5, "batch_size": size},
            training={"ema": 0.5},
        )
        for size in (1, 2)
    }
    out = torchrun(data, recipe[1], tmp_path / "two")
    dataset = open_dataset(data)
    train(recipe[2], dataset, tmp_path / "one", quiet=True)
    calibrate_checkpoint(tmp_path / "one" / "best.safetensors", dataset, "cpu")
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
