"""Each method's training step, chosen once for a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from wsol_deploy.train.loader import Batch
from wsol_deploy.train.recipe import LossRecipe, Recipe
from wsol_deploy.train.step import StepReport, training_step
from wsol_deploy.train.supervised import classification_step, segmentation_step

Backward = Callable[[Tensor], None]
Proceed = Callable[[int], bool]
Step = Callable[[Batch, LossRecipe, Backward], StepReport]


def step_of(network: Any, recipe: Recipe, proceed: Proceed) -> Step:
    """The step of the recipe's method.

    Args:
        network: of the method, in training mode when the step is taken.
        recipe: of the training.
        proceed: see `training_step`.

    Returns:
        a function of a batch with normalised images on the network's device, the weights of the
        losses, and what accumulates a scalar's gradient.
    """
    return STEPS.get(recipe.model.method, _classify)(network, recipe, proceed)


def _algorithm_1(network: Any, recipe: Recipe, proceed: Proceed) -> Step:
    def step(batch: Batch, weights: LossRecipe, backward: Backward) -> StepReport:
        taught = None if batch.masks is None else batch.masks.float() / 255
        return training_step(
            network, batch.x, batch.labels, weights, recipe.erasing, backward, proceed, taught
        )

    return step


def _segment(network: Any, recipe: Recipe, proceed: Proceed) -> Step:
    def step(batch: Batch, weights: LossRecipe, backward: Backward) -> StepReport:
        assert batch.masks is not None, "the loader gives masks to supervised methods"
        return segmentation_step(network, batch.x, batch.masks > 127, backward)

    return step


def _classify(network: Any, recipe: Recipe, proceed: Proceed) -> Step:
    def step(batch: Batch, weights: LossRecipe, backward: Backward) -> StepReport:
        return classification_step(network, batch.x, batch.labels, backward)

    return step


STEPS: dict[str, Callable[[Any, Recipe, Proceed], Step]] = {
    "minmax": _algorithm_1,
    "unet": _segment,
}
