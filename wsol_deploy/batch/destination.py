"""Where a run writes: a folder of this machine, or one at a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsol_deploy.batch.cloud import is_url, protocols, reach
from wsol_deploy.batch.cloud_folder import CloudFolder
from wsol_deploy.batch.cloud_journal import CloudJournal
from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.journal import NAME, Journal

Output = Path | str


def destination(named: str) -> Output:
    """The folder that the command line names; a URL of this machine is a path.

    Raises:
        DataError: a URL that cannot be reached, or the package of its protocol is missing.
        MissingExtra: fsspec is not installed.
    """
    if not is_url(named):
        return Path(named)
    system, path = reach(named, "Writing to")
    return Path(path) if "file" in protocols(system) else named


@contextmanager
def opened(
    output: Output, run: dict[str, Any], overwrite: bool
) -> Iterator[tuple[Folder, Journal]]:
    """The output folder and its journal.

    Args:
        output: a path, created if missing, or a URL.
        run, overwrite: see `Journal`.

    Raises:
        WsolError: the folder belongs to another run, another run is writing to it, or a URL
            cannot be written.
        OSError: the folder cannot be written.
    """
    if isinstance(output, str) and is_url(output):
        with CloudFolder(output) as away, CloudJournal(away, run, overwrite) as pieces:
            yield away, pieces
        return
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with Journal(output / NAME, run, overwrite) as journal, Folder(output) as folder:
        yield folder, journal
