"""Two processes under torchrun equal one with the doubled batch."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training import tiny_recipe, write_images

from wsol_deploy.datasets import open_dataset
from wsol_deploy.train import self_training
from wsol_deploy.train.finish import calibrate_checkpoint
from wsol_deploy.train.loop import train
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.recipe_file import to_toml
from wsol_deploy.train.state import TAUGHT
from wsol_deploy.train.world import World

WSOL = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
TORCHRUN = [
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python",
    "--nproc-per-node", "2",
]  # fmt: skip


def torchrun(data: Path, recipe: Recipe | None, folder: Path) -> str:
    """Train in two processes, or go on where there is no recipe; what they print."""
    how: list[object] = ["--resume"]
    if recipe is not None:
        file = folder.with_suffix(".toml")
        file.write_text(to_toml(recipe))
        how = ["--recipe", file]
    command = [*TORCHRUN, *WSOL, "train", data, *how, "-o", folder, "--device", "cpu"]
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


@pytest.mark.slow
def test_two_processes_train_themselves_together(tmp_path):
    recipe = tiny_recipe(
        model={"pixel_head": 8},
        optim={"epochs": 1, "lr": 0.002},
        training={"keep": "last", "self_training": 0.5},
    )
    out = torchrun(write_images(tmp_path / "data"), recipe, tmp_path / "run")
    assert out.split() == [str(tmp_path / "run")], "one process speaks"
    taught, last = (
        load_file(tmp_path / "run" / f"{name}.safetensors") for name in ("best", "last")
    )
    changed = {key.partition(".")[0] for key in last if not torch.equal(taught[key], last[key])}
    assert changed == {"backbone", "localizer", "classifier", "pixel_head"}


@pytest.mark.slow
def test_two_processes_go_on_with_self_training_as_one(tmp_path, monkeypatch):
    data = write_images(tmp_path / "data")
    one, two = tmp_path / "one", tmp_path / "two"
    recipe = {
        size: tiny_recipe(
            model={"pixel_head": 8, "dropout": 0.0},
            optim={"epochs": 1, "lr": 0.002, "batch_size": size},
            training={"keep": "last", "self_training": 1.0},
        )
        for size in (1, 2)
    }
    asked = iter([False] * (4 + 1) + [True])
    with monkeypatch.context() as patch:
        patch.setattr(self_training, "SHORTEST", 1)
        train(recipe[2], open_dataset(data), one, stop=lambda: next(asked), quiet=True)
    assert (one / TAUGHT).is_file()
    shutil.copytree(one, two)
    for folder, size in ((one, 2), (two, 1)):
        (folder / "recipe.toml").write_text(to_toml(recipe[size]))
    train(recipe[2], open_dataset(data), one, quiet=True)
    torchrun(data, None, two)
    first, second, before = (
        load_file(path)
        for path in (one / "best.safetensors", two / "best.safetensors", two / "last.safetensors")
    )

    def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
        return max(float((a[key].double() - b[key].double()).abs().max()) for key in a)

    # masks have 8 bits: what is rounded otherwise is more than rounding
    assert apart(first, second) < 0.02 * apart(second, before)


def meet(rank: int, place: str) -> None:
    """What each of two processes does; an assertion that fails ends the test."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{place}", rank=rank, world_size=2
    )
    world = World(rank, 2)
    assert world.sum([rank, 1.0]) == [1.0, 2.0]
    assert world.agree(f"said by {rank}") == "said by 0"

    some, everywhere, nowhere = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    everywhere.grad = torch.tensor([rank, 2.0])
    some.grad = torch.ones(2) if rank else None
    world.sum_gradients([some, everywhere, nowhere])
    assert some.grad is not None
    assert everywhere.grad.tolist() == [1.0, 4.0]
    assert some.grad.tolist() == [1.0, 1.0]
    assert nowhere.grad is None

    network = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.BatchNorm1d(1))
    network[1].eval()
    for layer in network:
        layer.running_mean.fill_(rank)
    world.average_buffers(network)
    assert network[0].running_mean.item() == 0.5
    assert network[1].running_mean.item() == rank, "frozen"

    world.broadcast(network)
    assert network[1].running_mean.item() == 0
    world.wait()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_exchanges_between_two_processes(tmp_path):
    torch.multiprocessing.spawn(meet, (str(tmp_path / "meeting"),), nprocs=2)


@pytest.mark.slow
def test_two_processes_count_once_what_one_had_counted(tmp_path):
    data, whole, two = write_images(tmp_path / "data"), tmp_path / "whole", tmp_path / "two"
    recipe = {
        size: tiny_recipe(model={"dropout": 0.0}, optim={"epochs": 1, "batch_size": size})
        for size in (1, 2)
    }
    train(recipe[2], open_dataset(data), whole, quiet=True)
    asked = iter([False, True])
    train(recipe[2], open_dataset(data), two, stop=lambda: next(asked), quiet=True)
    (two / "recipe.toml").write_text(to_toml(recipe[1]))
    torchrun(data, None, two)
    (one,), (other,) = (list(csv.DictReader((run / "metrics.csv").open())) for run in (whole, two))
    for column in ("train_localizer", "train_error", "train_passes"):
        assert float(other[column]) == pytest.approx(float(one[column]), abs=1e-4), column
