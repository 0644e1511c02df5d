"""One process at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsol_deploy.errors import WsolError


def lock(handle: int, folder: Path, command: str) -> None:
    """Hold an open file or folder until it is closed; where there is no such lock, do nothing.

    Args:
        handle: its file descriptor.
        folder: named in the error.
        command: that would hold it, as in `wsol train`.

    Raises:
        WsolError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WsolError(f"{folder}: another {command} is writing to it") from error
    except OSError:  # a file system without locks
        return


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Keep a second process out of a folder that exists. Raises as `lock` does."""
    if os.name != "posix":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle, folder, command)
        yield
    finally:
        os.close(handle)
