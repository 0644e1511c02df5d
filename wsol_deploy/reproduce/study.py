"""A study: one plan on one data set, checked before its first training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wsol_deploy.datasets import Dataset, Sample
from wsol_deploy.errors import UsageError
from wsol_deploy.reproduce.jobs import Job, check_unchanged, make_jobs
from wsol_deploy.reproduce.measure import check_truth, choose_shown
from wsol_deploy.reproduce.plan import Plan, choose
from wsol_deploy.train.data import open_for
from wsol_deploy.train.folders import for_labels


@dataclass(frozen=True, slots=True)
class Study:
    """What is to be reproduced.

    Attributes:
        plan: of rows and tables.
        data: a data set's path.
        dataset: with the splits of the first job.
        output: the folder for everything.
        budget: one of the plan's.
        tables: names in the plan.
        overrides: of every row's recipe, "section.key=value" each.
        jobs: every row of the tables with every seed, seed by seed.
        shown: test images of the pictures.
    """

    plan: Plan
    data: Path
    dataset: Dataset
    output: Path
    budget: str
    tables: tuple[str, ...]
    overrides: tuple[str, ...]
    jobs: tuple[Job, ...]
    shown: tuple[Sample, ...]

    @property
    def rows(self) -> list[str]:
        """Names of the tables' rows, each once."""
        return list(dict.fromkeys(job.row for job in self.jobs))


def prepare(
    plan: Plan,
    data: Path,
    output: Path,
    *,
    budget: str,
    seeds: int = 1,
    first_seed: int = 0,
    tables: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Study:
    """Make the jobs and check everything that can be checked before the first training.

    Args:
        plan: of rows and tables.
        data: a data set's path.
        output: the folder for everything; what it holds already is kept.
        budget: one of the plan's.
        seeds: trainings of each row, with seeds `first_seed`, `first_seed` + 1, ...
        first_seed: 0 or more.
        tables: names in the plan; none for the plan's default.
        overrides: "section.key=value" each, for every row.

    Raises:
        UsageError: no such budget, table or recipe key; other data than the plan is for; a run in
            the folder was trained otherwise.
        DataError: not a data set, a split lacks a class, or a test image lacks its truth.
    """
    choose([budget], plan.budgets, "budget")
    names = choose(tables or plan.default, plan.tables, "table")
    rows = choose([row for name in names for row in plan.tables[name].rows], plan.rows, "row")
    trained = range(first_seed, first_seed + seeds)
    jobs = make_jobs(plan, rows, trained, output, budget=budget, overrides=overrides)
    dataset = open_for(jobs[0].recipe, data)
    jobs = [_fitting(job, several=dataset.multi_label) for job in jobs]
    if plan.dataset not in (None, dataset.name):
        raise UsageError(
            f"{data}: is {dataset.name}, and the plan is for {plan.dataset}; take another plan, or "
            "write one of your own (a TOML file)"
        )
    test = dataset.subset("test")
    check_truth(test, plan.truth)
    for job in jobs:
        if job.folder.is_dir():
            check_unchanged(job, open_for(job.recipe, data).fingerprint().sha256)
    return Study(
        plan=plan,
        data=data,
        dataset=dataset,
        output=output,
        budget=budget,
        tables=tuple(names),
        overrides=tuple(overrides),
        jobs=tuple(jobs),
        shown=tuple(choose_shown(test)),
    )


def _fitting(job: Job, *, several: bool) -> Job:
    """The job as its training will fit it to the labels; what cannot be, its training refuses."""
    try:
        return replace(job, recipe=for_labels(job.recipe, several=several))
    except UsageError:
        return job
