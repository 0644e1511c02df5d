"""Learning rates and loss weights over the epochs."""

from __future__ import annotations

import pytest

from wsol_deploy.train.recipe import LossRecipe, OptimRecipe
from wsol_deploy.train.schedule import learning_rate, loss_weights


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 1e-3), (39.9, 1e-3), (40, 1e-4), (80.5, 1e-5), (120, 1e-6), (160, 1e-7), (399, 1e-7)],
)
def test_the_papers_steps_and_floor(epoch, rate):
    assert learning_rate(OptimRecipe(), epoch) == pytest.approx(rate)


def test_cosine_goes_from_lr_to_min_lr():
    recipe = OptimRecipe(schedule="cosine", lr=1.0, min_lr=0.1, epochs=10)
    assert learning_rate(recipe, 0) == pytest.approx(1.0)
    assert learning_rate(recipe, 5) == pytest.approx(0.55)
    assert learning_rate(recipe, 10) == pytest.approx(0.1)
    rates = [learning_rate(recipe, epoch) for epoch in range(11)]
    assert rates == sorted(rates, reverse=True)


def test_onecycle_rises_then_falls():
    recipe = OptimRecipe(schedule="onecycle", lr=1.0, min_lr=0.0, epochs=10)
    assert learning_rate(recipe, 0) == pytest.approx(1 / 25)
    assert learning_rate(recipe, 3) == pytest.approx(1.0)
    assert learning_rate(recipe, 6.5) == pytest.approx(0.5)
    assert learning_rate(recipe, 10) == pytest.approx(0.0)


def test_warm_up_multiplies_the_schedule():
    recipe = OptimRecipe(lr=1.0, warmup_epochs=2)
    assert learning_rate(recipe, 0) == pytest.approx(0.1)
    assert learning_rate(recipe, 1) == pytest.approx(0.55)
    assert learning_rate(recipe, 2) == pytest.approx(1.0)


def test_the_floor_is_not_above_a_small_lr():
    assert learning_rate(OptimRecipe(lr=1e-9), 0) == pytest.approx(1e-9)


@pytest.mark.parametrize(
    ("start", "ramp", "weights"),
    [
        (0, 0, [2, 2, 2, 2, 2]),
        (2, 0, [0, 0, 2, 2, 2]),
        (1, 3, [0, 0.5, 1, 1.5, 2]),
    ],
)
def test_the_background_loss_may_start_late_and_rise(start, ramp, weights):
    optim = OptimRecipe(background_start_epoch=start, background_ramp_epochs=ramp)
    loss = LossRecipe(background=2.0, foreground=3.0)
    found = [loss_weights(optim, loss, epoch) for epoch in range(5)]
    assert [one.background for one in found] == pytest.approx(weights)
    assert {one.foreground for one in found} == {3.0}


@pytest.mark.parametrize(
    ("epochs", "shares"), [(6, [0, 0, 0.5, 0.5, 0.5, 0.5]), (3, [0, 0.5, 0.5]), (1, [0.0])]
)
def test_bootstrapping_begins_after_a_third(epochs, shares):
    optim, loss = OptimRecipe(epochs=epochs), LossRecipe(bootstrap=0.5)
    assert [loss_weights(optim, loss, epoch).bootstrap for epoch in range(epochs)] == shares
