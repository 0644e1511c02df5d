"""Carry out a study job by job; what is done is left alone, what fails costs its row only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from wsol_deploy.errors import UsageError, WsolError
from wsol_deploy.reproduce.document import write
from wsol_deploy.reproduce.jobs import Job
from wsol_deploy.reproduce.measure import measure
from wsol_deploy.reproduce.plan import choose
from wsol_deploy.reproduce.study import Study

INTERRUPTED = 130
Wsol = Callable[[Sequence[str]], int]
logger = logging.getLogger(__name__)


def carry_out(
    study: Study, rows: Sequence[str], device: str, wsol: Wsol
) -> dict[tuple[str, int], str]:
    """Train and measure what is missing; tables and page are written after every job.

    Args:
        study: prepared.
        rows: names of rows to work on; none for all.
        device: auto, cpu, cuda or cuda:N.
        wsol: runs one command from its words and gives its exit code.

    Returns:
        (row, seed) to why it failed, one line each.

    Raises:
        UsageError: a row is not in the study's tables.
        KeyboardInterrupt: asked to stop; every job can be gone on with.
    """
    _check_table(study, rows)
    wanted = choose(rows or study.rows, study.rows, "row")
    jobs = [job for job in study.jobs if job.row in wanted]
    failures: dict[tuple[str, int], str] = {}
    for number, job in enumerate(jobs, start=1):
        name = f"[{number}/{len(jobs)}] {job.row}, seed {job.seed}"
        if job.result() is not None:
            logger.info("%s: complete", name)
            continue
        logger.info("%s: %s", name, "going on" if job.started else "training")
        try:
            _carry_out(study, job, device, wsol)
        except WsolError as error:
            failures[job.row, job.seed] = str(error)
        except Exception as error:
            logger.debug("%s", name, exc_info=error)
            failures[job.row, job.seed] = f"{type(error).__name__}: {error}"
        if (job.row, job.seed) in failures:
            logger.error("%s: failed: %s", name, failures[job.row, job.seed])
        write(study, failures)
    write(study, failures)
    return failures


def _check_table(study: Study, rows: Sequence[str]) -> None:
    """Raises UsageError for a row that the plan has, but none of the study's tables."""
    for row in rows:
        tables = [name for name, table in study.plan.tables.items() if row in table.rows]
        if tables and row not in study.rows:
            raise UsageError(f"row {row} is in table {tables[0]}: add --table {tables[0]}")


def _carry_out(study: Study, job: Job, device: str, wsol: Wsol) -> None:
    code = wsol(job.command(study.data, device))
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise WsolError(f"its training ended with exit code {code}; see the lines above")
    measure(job, study.data, [sample.name for sample in study.shown], device)
