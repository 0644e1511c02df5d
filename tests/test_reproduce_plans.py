"""What `wsol reproduce` has decided before it trains: the plans' recipes, the pictures' images."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsol_deploy.datasets import Dataset, Sample
from wsol_deploy.reproduce.jobs import make_jobs
from wsol_deploy.reproduce.measure import choose_shown
from wsol_deploy.reproduce.plan import load_plan, names
from wsol_deploy.train.recipe_file import load_recipe


@pytest.mark.parametrize("budget", ["small", "paper"])
@pytest.mark.parametrize("name", names())
def test_every_row_of_every_plan_has_a_recipe_of_its_own(name, budget, tmp_path):
    plan = load_plan(name)
    jobs = make_jobs(plan, plan.rows, [0, 3], tmp_path, budget=budget)
    recipes = [job.recipe.model_dump_json() for job in jobs]
    assert len(set(recipes)) == len(recipes) == 2 * len(plan.rows)
    assert [job.recipe.training.seed for job in jobs] == [0] * len(plan.rows) + [3] * len(plan.rows)
    own = {job.row: job.recipe for job in jobs}
    assert own["minmax-u4"].erasing.u == 4
    assert (
        own["minmax-u0"].model_copy(update={"erasing": own["minmax-u4"].erasing})
        == (own["minmax-u4"])
    )
    if "plus-crops" in own:
        assert 2 * own["plus-crops"].optim.epochs == own["minmax-default"].optim.epochs
    if budget == "paper":
        assert own["minmax-u4"].model.backbone == "resnet101"
        assert own["cam-avg"].model.backbone == "resnet18"


def test_on_glas_our_row_is_the_default_recipe_as_it_is(tmp_path):
    (job,) = make_jobs(load_plan("glas"), ["minmax-default"], [0], tmp_path, budget="small")
    assert job.recipe == load_recipe("default", ["data.split=paper"])


def test_pictures_are_few_however_many_classes_there_are():
    samples = [Sample(f"{label:02}/{at}.png", Path("a.png"), label) for label in range(40)
               for at in range(3)]  # fmt: skip
    dataset = Dataset("many", Path(), tuple(f"{label:02}" for label in range(40)), tuple(samples))
    shown = choose_shown(dataset, images=6)
    assert [sample.label for sample in shown] == [0, 8, 16, 23, 31, 39]
