"""The data set a recipe is for."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.datasets import Dataset, open_dataset
from wsol_deploy.train.recipe import Recipe


def open_for(recipe: Recipe, data: Path) -> Dataset:
    """The data set, split as the recipe says. Raises DataError."""
    said = recipe.data
    return open_dataset(
        data,
        split=said.split,
        seed=recipe.training.seed,
        group_column=said.group_column,
        valid_fraction=said.valid_fraction,
        test_fraction=said.test_fraction,
    )
