"""Tables filled from the stored evaluations: each figure over the seeds, beside the published."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsol_deploy.evaluation.metrics import DEFINITIONS
from wsol_deploy.reproduce.columns import COLUMNS, Column
from wsol_deploy.reproduce.jobs import Job
from wsol_deploy.reproduce.plan import Plan

Values = dict[int, float]
Failures = Mapping[tuple[str, int], str]
DASH = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure.

    Attributes:
        column: of the table.
        values: seed to what was measured, in the column's unit.
        published: the figure to stand beside, or None.
    """

    column: Column
    values: Values
    published: float | None

    @property
    def mean(self) -> float | None:
        """Over the seeds; None if nothing was measured."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def sd(self) -> float | None:
        """The sample's standard deviation over the seeds; None for fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def text(self) -> str:
        """Mean, and sd if there is one: "72.5 ± 0.4"; a dash for nothing."""
        mean, sd = (_number(value, self.column) for value in (self.mean, self.sd))
        return f"{mean} ± {sd}" if sd != DASH else mean

    @property
    def published_text(self) -> str:
        """The published figure; a dash for none."""
        return _number(self.published, self.column)


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its name in the plan, title, cells, and what is missing of it ("" for nothing)."""

    row: str
    title: str
    cells: tuple[Cell, ...]
    gap: str


@dataclass(frozen=True, slots=True)
class Filled:
    """A table with its lines.

    Attributes:
        name: in the plan.
        title, note: for readers.
        columns: titles.
        names: of the columns.
        lines: a line for each row.
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def has_published(self) -> list[bool]:
        """Of each column, whether any line has a figure to stand beside."""
        places = range(len(self.columns))
        return [any(line.cells[at].published is not None for line in self.lines) for at in places]


def fill(plan: Plan, names: Sequence[str], jobs: Sequence[Job], failures: Failures) -> list[Filled]:
    """The plan's tables of these names, as far as the jobs have come.

    Raises:
        DataError: a stored evaluation is damaged.
    """
    measured = {(job.row, job.seed): job.result() for job in jobs}
    figures = {key: figures_of(found) for key, found in measured.items() if found is not None}
    seeds = sorted({job.seed for job in jobs})
    tables = []
    for name in names:
        table = plan.tables[name]
        lines = [_line(plan, name, row, seeds, figures, failures) for row in table.rows]
        columns = tuple(COLUMNS[column] for column in table.columns)
        tables.append(Filled(name, table.title, table.note, columns, table.columns, tuple(lines)))
    return tables


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """A stored evaluation's figures by column, in the columns' units."""
    figures = {name: 100 * found["value"] for name, found in result["metrics"].items()}
    times = {name: result[name] for name in COLUMNS if name not in DEFINITIONS and name in result}
    return figures | times


def _line(
    plan: Plan,
    table: str,
    row: str,
    seeds: Sequence[int],
    figures: Mapping[tuple[str, int], dict[str, float]],
    failures: Failures,
) -> Line:
    own = {seed: figures[row, seed] for seed in seeds if (row, seed) in figures}
    first = plan.tables[table].rows[0]
    base = {seed: figures[first, seed] for seed in own if (first, seed) in figures}
    published = plan.rows[row].published
    cells = tuple(
        Cell(COLUMNS[name], _values(name, own, base), published.get(name))
        for name in plan.tables[table].columns
    )
    return Line(row, plan.rows[row].title, cells, _gap(row, seeds, own, failures))


def _values(
    name: str, own: Mapping[int, dict[str, float]], base: Mapping[int, dict[str, float]]
) -> Values:
    relative = COLUMNS[name].relative
    if relative is None:
        return {seed: found[name] for seed, found in own.items() if name in found}
    return {
        seed: own[seed][relative] / base[seed][relative]
        for seed in base
        if relative in own[seed] and base[seed].get(relative)
    }


def _gap(row: str, seeds: Sequence[int], done: Mapping[int, Any], failures: Failures) -> str:
    failed = [reason for seed in seeds if (reason := failures.get((row, seed)))]
    if failed:
        return f"failed: {failed[0]}"
    if not done:
        return "not trained yet"
    return "" if len(done) == len(seeds) else f"{len(done)} of {len(seeds)} seeds"


def _number(value: float | None, column: Column) -> str:
    return DASH if value is None else f"{value:.{column.decimals}f}"
