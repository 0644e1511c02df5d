"""What the tests of training share: a tiny network, a tiny data set, a recipe of seconds."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from wsol_deploy.datasets import Dataset, open_dataset
from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.minmax import MinMaxNetwork
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.recipe_file import parse

BOTH = ("disc", "square")

torch.set_num_threads(1)  # tiny work, and the machine is shared

TINY = {
    "data": {"crop": 48, "workers": 0},
    "model": {
        "backbone": "mobilenetv3_small_050",
        "weights": "none",
        "output_stride": 8,
        "last_stages": "drop",
        "dropout": 0.5,
    },
    "erasing": {"u": 1},
    "optim": {"lr": 0.02, "batch_size": 4, "epochs": 2},
    "training": {"batch_norm": "frozen"},
}


SELF_TRAINED = {
    "optim": {"epochs": 2, "lr": 0.003},
    "training": {"keep": "last", "self_training": 0.5},
    "model": {"pixel_head": 8},
}


class TinyFeatures(nn.Module):
    """Two convolutions with batch norm; stride 8, 6 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4, padding=1),
            nn.BatchNorm2d(4),
            nn.Tanh(),
            nn.Conv2d(4, 6, 3, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.layers(x)]


def tiny_network(classes: int = 3, seed: int = 0, gain: float = 1.0, **model: object) -> nn.Module:
    """A network of a few hundred weights, no dropout, batch norm frozen, in training mode.

    Args:
        gain: of the localizer's head; the larger, the surer it is.
    """
    torch.manual_seed(seed)
    config = ModelConfig(**{"dropout": 0.0, "modalities": 2, "kmax": 0.3, **model})
    backbone = Backbone(TinyFeatures(), (0.5,) * 3, (0.5,) * 3)
    network = MinMaxNetwork(backbone, classes, config).double()
    with torch.no_grad():
        network.localizer.maps.weight.mul_(gain)
    network.freeze_batch_norm()
    return network.train()


def tiny_recipe(**sections: dict) -> Recipe:
    """`TINY` with other values, section by section."""
    names = {*TINY, *sections}
    return parse({name: TINY.get(name, {}) | sections.get(name, {}) for name in names}, "test")


def write_images(root: Path, *, images: int = 12, size: int = 64, seed: int = 0) -> Path:
    """A folder per class: discs or squares on noise, with masks; 3/4 train, 1/4 valid each."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(("disc", "square")):
        for number in range(images // 2):
            image = rng.integers(60, 120, (size, size, 3), np.uint8)
            mask = np.zeros((size, size), np.uint8)
            x, y = rng.integers(size // 4, 3 * size // 4, 2).tolist()
            if label:
                cv2.rectangle(mask, (x - 10, y - 10), (x + 10, y + 10), 255, -1)
            else:
                cv2.circle(mask, (x, y), 12, 255, -1)
            image[mask > 0] = (200, 60, 60) if label else (60, 60, 200)
            split = "train" if number < 3 * images // 8 else "valid"
            for place, pixels in ((root, image), (root / "masks", mask)):
                path = place / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    return root


def tiny_dataset(root: Path, **options: int) -> Dataset:
    """`write_images`, opened."""
    return open_dataset(write_images(root, **options))


def write_both(root: Path, count: int = 16, size: int = 64) -> Path:
    """Discs on the left, squares on the right, or both; masks with 1 and 2; a CSV of them."""
    rng = np.random.default_rng(0)
    lines = [("image", "label", "mask", "split")]
    for number in range(count):
        shown = (BOTH[:1], BOTH[1:], BOTH)[number % 3]
        image = rng.integers(60, 120, (size, size, 3), np.uint8)
        mask = np.zeros((size, size), np.uint8)
        if "disc" in shown:
            cv2.circle(mask, (16, 30), 12, 1, -1)
        if "square" in shown:
            cv2.rectangle(mask, (38, 20), (58, 40), 2, -1)
        image[mask == 1], image[mask == 2] = (60, 60, 200), (200, 60, 60)
        for folder, pixels in (("images", image), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / folder / f"{number:02d}.png"), pixels)
        split = "train" if number < 3 * count // 4 else "valid"
        name = f"{number:02d}.png"
        lines.append((f"images/{name}", "; ".join(shown), f"masks/{name}", split))
    with (root / "both.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    return root / "both.csv"


def changed(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    """The parts of a network whose tensors differ."""
    assert one.keys() == other.keys()
    return {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}
