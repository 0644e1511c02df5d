"""Learning rate and loss weights as functions of the epoch: nothing to store, exact to resume."""

from __future__ import annotations

import math

from wsol_deploy.train.recipe import LossRecipe, OptimRecipe

RISE = 0.3  # share of a onecycle that rises
RISE_FROM = 1 / 25
WARM_FROM = 1 / 10


def learning_rate(recipe: OptimRecipe, epoch: float) -> float:
    """The backbone's learning rate.

    Args:
        epoch: passes over the data so far, with its fraction.
    """
    done = min(epoch / recipe.epochs, 1.0)
    if recipe.schedule == "step":
        rate = recipe.lr * recipe.gamma ** int(epoch // recipe.step_epochs)
    elif recipe.schedule == "cosine":
        rate = _cosine(recipe.lr, recipe.min_lr, done)
    elif done < RISE:
        rate = _cosine(recipe.lr * RISE_FROM, recipe.lr, done / RISE)
    else:
        rate = _cosine(recipe.lr, recipe.min_lr, (done - RISE) / (1 - RISE))
    rate = max(rate, min(recipe.min_lr, recipe.lr))
    if epoch < recipe.warmup_epochs:
        rate *= WARM_FROM + (1 - WARM_FROM) * epoch / recipe.warmup_epochs
    return rate


def loss_weights(recipe: OptimRecipe, loss: LossRecipe, epoch: int) -> LossRecipe:
    """The weights of the losses in an epoch: that of the loss on X- may start late and rise.

    Bootstrapping begins after a third of the epochs: a head that class maps have hardly taught yet
    would only confirm itself.
    """
    since = epoch - recipe.background_start_epoch
    share = min(max(since + 1, 0) / (recipe.background_ramp_epochs + 1), 1.0)
    bootstrap = loss.bootstrap if 3 * epoch >= recipe.epochs else 0.0
    return loss.model_copy(update={"background": share * loss.background, "bootstrap": bootstrap})


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
