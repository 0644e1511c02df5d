"""Random variants of a training image, a pure function of the image and the random generator."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from wsol_deploy.train.recipe import DataRecipe

# Optical density in red, green and blue of haematoxylin, eosin and DAB (Ruifrok and Johnston 2001).
DYES = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def augment(image: np.ndarray, recipe: DataRecipe, rng: np.random.Generator) -> Tensor:
    """Crop, flip, turn, stain and jitter.

    Args:
        image: uint8, H x W x 3, any H and W; planes after the third, masks, only change place.
        recipe: what to vary.
        rng: the only source of chance.

    Returns:
        uint8, 3 x crop x crop, or as many planes as there are.
    """
    image = _affine(image, recipe, rng)
    rows, columns = (
        _window(side, recipe.crop, recipe.reflect_pad, rng) for side in image.shape[:2]
    )
    if recipe.horizontal_flip and rng.random() < 0.5:
        columns = columns[::-1]
    if recipe.vertical_flip and rng.random() < 0.5:
        rows = rows[::-1]
    patch = image[rows[:, None], columns[None, :]]
    if recipe.rotate:
        patch = np.rot90(patch, int(rng.integers(4)))
    tensor = torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1)))
    coloured = _jitter(_stain(tensor[:3], recipe, rng), recipe, rng)
    return torch.cat([coloured, tensor[3:]])


def _affine(image: np.ndarray, recipe: DataRecipe, rng: np.random.Generator) -> np.ndarray:
    """Turn, shear and scale about the centre; what comes in over the border is reflected."""
    if not recipe.degrees and not recipe.shear and recipe.zoom == (1.0, 1.0):
        return image
    turn = np.deg2rad(rng.uniform(-recipe.degrees, recipe.degrees))
    shear = np.tan(np.deg2rad(rng.uniform(-recipe.shear, recipe.shear)))
    factor = rng.uniform(*recipe.zoom)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = factor * rotation @ np.array([[1.0, shear], [0.0, 1.0]])
    height, width = image.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.column_stack([linear, centre - linear @ centre])
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def _window(side: int, crop: int, pad: float, rng: np.random.Generator) -> np.ndarray:
    """Pixels of one side under a random crop, reflected where it reaches over the border."""
    border = round(pad * side)
    room = side + 2 * border - crop
    start = int(rng.integers(room + 1)) - border if room > 0 else (side - crop) // 2
    return reflect(np.arange(start, start + crop), side)


def reflect(index: np.ndarray, side: int) -> np.ndarray:
    """Indices into [0, side) for any integers: reflected at the border pixels, which are not
    repeated, as often as needed."""
    period = max(2 * (side - 1), 1)
    index = index % period
    return np.where(index < side, index, period - index)


def _stain(image: Tensor, recipe: DataRecipe, rng: np.random.Generator) -> Tensor:
    """More or less of each dye (Tellez et al. 2018); bare glass stays as it is."""
    if not recipe.stain:
        return image
    factors = torch.from_numpy(rng.uniform(1 - recipe.stain, 1 + recipe.stain, size=3)).float()
    change = torch.linalg.solve(DYES, factors[:, None] * DYES)
    density = -((image.flatten(1).float() + 1) / 256).log()
    stained = 256 * (-change.T @ density).exp() - 1
    return stained.round().clamp(0, 255).to(torch.uint8).view_as(image)


def _jitter(image: Tensor, recipe: DataRecipe, rng: np.random.Generator) -> Tensor:
    changes: list[tuple[Callable[[Tensor, float], Tensor], float, float]] = [
        (F.adjust_brightness, 1, recipe.brightness),
        (F.adjust_contrast, 1, recipe.contrast),
        (F.adjust_saturation, 1, recipe.saturation),
        (F.adjust_hue, 0, recipe.hue),
    ]
    for at in rng.permutation(len(changes)):
        change, middle, spread = changes[at]
        if spread > 0:
            drawn = rng.uniform(middle - spread, middle + spread)
            image = change(image, drawn if middle == 0 else max(drawn, 0.0))
    return image
