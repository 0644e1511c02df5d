"""A progress bar on a terminal, and a line for every image that failed, on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wsol_deploy.batch.cloud import CloudSources
from wsol_deploy.batch.sources import Sources

logger = logging.getLogger(__name__)
Notice = Callable[[dict[str, Any]], None]


@contextmanager
def progress(sources: Sources | CloudSources, quiet: bool) -> Iterator[Notice]:
    """A function to call with every journal entry.

    Args:
        sources: counted first, if a bar is drawn.
        quiet: no bar.
    """
    if quiet or not sys.stderr.isatty():
        yield _log_failure
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("images", total=sum(1 for _ in sources))

        def notice(entry: dict[str, Any]) -> None:
            bar.advance(task)
            if "failed" in entry:
                bar.console.print(_failure(entry), markup=False, highlight=False)

        yield notice


def _log_failure(entry: dict[str, Any]) -> None:
    if "failed" in entry:
        logger.error("%s", _failure(entry))


def _failure(entry: dict[str, Any]) -> str:
    return f"{entry['image']}: {entry['failed']}"
