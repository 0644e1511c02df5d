"""Write what a study has measured so far: tables.md, tables.csv and index.html."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.datasets.base import SPLITS
from wsol_deploy.files import write_whole
from wsol_deploy.reproduce.figure import figure, load_strip
from wsol_deploy.reproduce.page import page
from wsol_deploy.reproduce.study import Study
from wsol_deploy.reproduce.tables import Failures, fill
from wsol_deploy.reproduce.writing import as_csv, as_markdown

MARKDOWN, CSV, PAGE = "tables.md", "tables.csv", "index.html"


def write(study: Study, failures: Failures) -> None:
    """Write the three files, each whole.

    Args:
        study: with whatever its jobs have measured.
        failures: (row, seed) to why it failed.

    Raises:
        DataError: a stored evaluation is damaged.
        ImageError: an image of the pictures cannot be read.
    """
    plan = study.plan
    tables = fill(plan, study.tables, study.jobs, failures)
    facts = [*_facts(study)]
    texts = {
        MARKDOWN: as_markdown(plan.title, facts, tables, plan.published),
        CSV: as_csv(tables),
        PAGE: page(plan.title, facts, tables, _figure(study), _runs(study), plan),
    }
    for name, text in texts.items():
        write_whole(study.output / name, text.encode())


def _facts(study: Study) -> Iterator[tuple[str, str]]:
    counts = ", ".join(f"{len(study.dataset.subset(one))} {one}" for one in SPLITS)
    results = [found for job in study.jobs if (found := job.result()) is not None]
    machines = dict.fromkeys(found["machine"] for found in results)
    yield "data", f"{study.dataset.name}: {counts} images"
    yield "budget", f"{study.budget}: {study.plan.budgets[study.budget].about}"
    if study.overrides:
        yield "set for every row", ", ".join(study.overrides)
    yield "seeds", ", ".join(str(seed) for seed in sorted({job.seed for job in study.jobs}))
    yield "trainings done", f"{len(results)} of {len(study.jobs)}"
    if machines:
        yield "machine", "; ".join(machines)


def _runs(study: Study) -> Iterator[list[str]]:
    for job in study.jobs:
        found = job.result()
        if found is not None:
            row = study.plan.rows[job.row]
            yield [
                row.title,
                str(job.seed),
                f"{row.recipe}, {row.method}",
                f"{found.get('epochs', '-')} of {job.recipe.optim.epochs}",
                f"{found['minutes']:.1f}" if "minutes" in found else "-",
                f"{found['threshold']:g}",
                found["threshold_chosen_on"],
            ]


def _figure(study: Study) -> str:
    first = min(job.seed for job in study.jobs)
    pairs = [(study.plan.rows[job.row].title, job) for job in study.jobs if job.seed == first]
    strips = [strip for title, job in pairs if (strip := load_strip(job, title)) is not None]
    return figure(study.shown, study.dataset.classes, strips)
