"""Files that are whole or not there, and names that need not be UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

from wsol_deploy.errors import UsageError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse beforehand a path that no file can be written at. Raises UsageError."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it")
    place = next(folder for folder in path.absolute().parents if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UsageError(f"{path}: cannot be written, {place} is no folder that you may write to")


def readable(name: str) -> str:
    """A file's name as UTF-8 text: names need not be."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
