"""From a plan to jobs: a row with one seed, its whole recipe, and how far its run has come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol_deploy.errors import DataError, UsageError
from wsol_deploy.files import write_whole
from wsol_deploy.reproduce.plan import Plan, flatten, means
from wsol_deploy.train.folders import RECIPE
from wsol_deploy.train.methods import check_meaning
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.recipe_file import load_recipe, run_recipe, to_toml
from wsol_deploy.train.state import FILE as STATE

RUNS, RECIPES = "runs", "recipes"
RESULT = "evaluation.json"


@dataclass(frozen=True, slots=True)
class Job:
    """One training and its evaluation.

    Attributes:
        row: its name in the plan.
        seed: of the training.
        recipe: the whole of it.
        output: the folder of the reproduction.
    """

    row: str
    seed: int
    recipe: Recipe
    output: Path

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.output / RUNS / self.row / f"seed-{self.seed}"

    @property
    def started(self) -> bool:
        """Whether there is a run to go on with."""
        return (self.folder / STATE).is_file()

    def command(self, data: Path, device: str) -> list[str]:
        """What trains it, or goes on with it: the words after `wsol`."""
        into = ["-o", str(self.folder), "--device", device]
        if self.started:
            steps = self.recipe.training.max_steps
            limit = ["--max-steps", str(steps)] if steps else []
            return ["train", str(data), "--resume", *limit, *into]
        recipe = self.output / RECIPES / f"{self.row}-seed-{self.seed}.toml"
        write_whole(recipe, to_toml(self.recipe).encode())
        return ["train", str(data), "--recipe", str(recipe), *into, "--overwrite"]

    def result(self) -> dict[str, Any] | None:
        """The stored evaluation; None if it is still to be done.

        Raises:
            DataError: the file is damaged.
        """
        path = self.folder / RESULT
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        except ValueError as error:
            raise DataError(f"{path}: damaged ({error}); remove it to evaluate again") from error


def make_jobs(
    plan: Plan,
    rows: Iterable[str],
    seeds: Iterable[int],
    output: Path,
    *,
    budget: str,
    overrides: Sequence[str] = (),
) -> list[Job]:
    """A job for every row and seed, seed by seed, so that a whole table is there early.

    Args:
        plan: of the rows.
        rows: names of rows.
        seeds: of the trainings.
        output: the folder of the reproduction.
        budget: one of the plan's.
        overrides: "section.key=value" each, for every row whose method reads the key; they win
            over the plan.

    Raises:
        UsageError: a recipe of the plan cannot be read, or has no such key, or an override means
            nothing to every row.
    """
    rows = list(rows)
    _check_overrides(plan, rows, overrides)
    recipes = {row: _recipe(plan, row, budget, overrides) for row in rows}
    return [
        Job(row, seed, _with_seed(recipes[row], seed), output) for seed in seeds for row in rows
    ]


def check_unchanged(job: Job, data_sha256: str) -> None:
    """Refuse to mix what was trained otherwise into a table.

    Raises:
        UsageError: the run there has another recipe or was measured on other data.
    """
    result = job.result()
    if result is None and not job.started:
        return
    mend = "choose another --output, or remove that folder to train it again"
    found = difference(run_recipe(job.folder / RECIPE), job.recipe)
    if found:
        raise UsageError(f"{job.folder}: its run has another recipe: {found}; {mend}")
    if result is not None and result["data_sha256"] != data_sha256:
        raise UsageError(
            f"{job.folder}: its run was measured on other images, labels or splits; {mend}"
        )


def difference(there: Recipe, asked: Recipe) -> str:
    """The recipes' keys that differ, at most three; empty if none does."""
    old, new = (dict(flatten(recipe.model_dump())) for recipe in (there, asked))
    keys = [key for key in new if old[key] != new[key]]
    shown = [f"{key} is {old[key]} there and {new[key]} now" for key in keys[:3]]
    more = [f"and {len(keys) - 3} more"] if len(keys) > 3 else []
    return ", ".join(shown + more)


def _recipe(plan: Plan, row: str, budget: str, overrides: Sequence[str]) -> Recipe:
    own = plan.rows[row]
    written = [f"{key}={json.dumps(value)}" for key, value in plan.changes(row, budget).items()]
    meant = [one for one in overrides if means(_key(one), own.method)]
    try:
        return load_recipe(own.recipe, [*written, *meant], own.method)
    except UsageError as error:
        raise UsageError(f"row {row}: {error}") from error


def _check_overrides(plan: Plan, rows: Sequence[str], overrides: Sequence[str]) -> None:
    methods = dict.fromkeys(plan.rows[row].method for row in rows)
    for override in overrides:
        if _key(override) == "training.seed":
            raise UsageError("training.seed is each job's own: say --first-seed and --seeds")
        if not any(means(_key(override), method) for method in methods):
            check_meaning(_key(override), next(iter(methods)))


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _with_seed(recipe: Recipe, seed: int) -> Recipe:
    training = recipe.training.model_copy(update={"seed": seed})
    return recipe.model_copy(update={"training": training})
