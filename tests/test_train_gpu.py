"""Training on a GPU: the same weights twice, mixed precision, and the masks the CPU gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training import tiny_dataset, tiny_recipe

import wsol_deploy
from wsol_deploy.runs import BEST, LAST
from wsol_deploy.train.loop import train
from wsol_deploy.train.world import World

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no GPU that torch can use"
)

GPU = World(device=torch.device("cuda:0"))
ALL = {
    "model": {"pixel_head": 8, "contrast": True, "reflect": 16},
    "loss": {"local": 1.0, "tiles": 2, "size_barrier": 1.0},
    "erasing": {"u": 2, "mask_gradient": "attached"},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("sections", [{}, ALL], ids=["paper", "all"])
def test_the_same_weights_twice_bit_for_bit(dataset, tmp_path, sections):
    model = {**tiny_recipe().model.model_dump(exclude_unset=True), **sections.get("model", {})}
    recipe = tiny_recipe(**{**sections, "model": model})
    for name in ("one", "other"):
        train(recipe, dataset, tmp_path / name, world=GPU, quiet=True)
    one, other = (load_file(tmp_path / name / LAST) for name in ("one", "other"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_what_a_gpu_trained_gives_the_same_masks_on_the_cpu(dataset, tmp_path, precision):
    recipe = tiny_recipe(training={"batch_norm": "frozen", "precision": precision})
    train(recipe, dataset, tmp_path, world=GPU, quiet=True)
    scene = dataset.samples[0].read_image()
    here, there = (
        wsol_deploy.load(tmp_path / BEST, device=device).predict(scene)
        for device in ("cpu", "cuda")
    )
    assert np.abs(here.probability - there.probability).max() < 2e-2
    assert here.label == there.label
