"""Places at `s3://`, `gs://` and whatever else fsspec knows, and the images there."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any

from wsol_deploy.batch.sources import FOLDERS, Item, Sources, is_source
from wsol_deploy.errors import DataError, ImageError, MissingExtra

MARK = "://"


class CloudSources:
    """The images that URLs name: files, folders (all levels) and globs of one file system.

    Args:
        urls: of one file system.
        output: the folder or URL that is written to; what lies in its subfolders is no image.

    Attributes:
        base: the deepest folder that holds every source, as a URL; names are relative to it.

    Raises:
        DataError: a source does not exist or cannot be reached, or they are of several kinds.
        MissingExtra: fsspec is not installed.
    """

    def __init__(self, urls: Sequence[str], output: Path | str | None = None) -> None:
        systems = [reach(url) for url in urls]
        self._system = systems[0][0]
        if any(system is not self._system for system, _ in systems):
            raise DataError(f"{', '.join(urls)}: of several file systems; give one at a time")
        written = _written(output, self._system)
        found = [
            _find(url, self._system, path, written)
            for url, (_, path) in zip(urls, systems, strict=True)
        ]
        self._paths = sorted({path for _, paths in found for path in paths})
        folders = [
            top for folder, paths in found for top in ([folder] if folder else _parents(paths))
        ]
        if not folders:
            raise DataError(f"{', '.join(urls)}: no file matches")
        self._base = posixpath.commonpath(folders)
        self.base = self._system.unstrip_protocol(self._base)

    def at_least(self, few: int) -> int:
        """How many images there are, counted up to `few`.

        Raises:
            DataError: there is none.
        """
        if not self._paths:
            raise DataError(f"{self.base}: no image in it")
        return min(few, len(self._paths))

    def __iter__(self) -> Iterator[Item]:
        """Every image once, in sorted order."""
        for path in self._paths:
            name = posixpath.relpath(path, self._base)
            yield Item(Path(path), name, self._system.unstrip_protocol(path))


def find(sources: Sequence[str], output: Path | str | None) -> Sources | CloudSources:
    """The images of the command line, here or in a cloud. Raises DataError, MissingExtra."""
    remote = [is_url(source) for source in sources]
    if not any(remote):
        return Sources(sources, output if isinstance(output, Path) else None)
    if not all(remote):
        raise DataError("sources here and in a cloud; give one kind at a time")
    return CloudSources(sources, output)


def fetch(item: Item, place: Path) -> Path:
    """Copy an image of a URL into a folder; the copy's path. Raises ImageError."""
    assert item.url is not None
    handle, name = tempfile.mkstemp(suffix=item.path.suffix, dir=place)
    os.close(handle)
    try:
        system, path = reach(item.url)
        system.get_file(path, name)
    except Exception as error:  # each file system fails in its own way
        Path(name).unlink()
        raise ImageError(f"{item.url}: cannot be fetched ({reason(error)})") from error
    return Path(name)


def is_url(place: str) -> bool:
    """Whether it is a URL and no path."""
    return MARK in place


def reach(url: str, doing: str = "Reading") -> tuple[Any, str]:
    """The file system of a URL or a path, and the place in it.

    Raises:
        DataError: it cannot be reached, or the package of its protocol is missing.
        MissingExtra: fsspec is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtra(f"{doing} {url}", "ray") from error
    try:
        return url_to_fs(url)
    except Exception as error:  # a protocol's package may be missing, or its account
        raise DataError(f"{url}: cannot be reached ({reason(error)})") from error


def protocols(system: Any) -> set[str]:
    """The names that a file system goes by in URLs."""
    known = system.protocol
    return {known} if isinstance(known, str) else set(known)


def reason(error: BaseException) -> str:
    """Why something failed, in one line."""
    told = (getattr(error, "strerror", None) or str(error)).strip()
    return (told.splitlines() or [type(error).__name__])[0]


def _written(output: Path | str | None, system: Any) -> tuple[str, ...]:
    """The folders of this file system that the run itself fills."""
    if output is None:
        return ()
    there, path = reach(str(output))
    return tuple(f"{path.rstrip('/')}/{name}/" for name in FOLDERS) if there is system else ()


def _find(url: str, system: Any, path: str, written: tuple[str, ...]) -> tuple[str, list[str]]:
    """The folder that a URL names, or nothing, and the images it means."""
    try:
        if has_magic(path):
            return "", [str(name) for name in system.glob(path) if is_source(Path(name))]
        if system.isfile(path):
            return "", [path]
        if not system.exists(path):
            raise FileNotFoundError("no such file or folder")
        names = [str(name) for name in system.find(path) if is_source(Path(name))]
        return path, [name for name in names if not name.startswith(written)]
    except Exception as error:  # each file system fails in its own way
        raise DataError(f"{url}: cannot be listed ({reason(error)})") from error


def _parents(paths: list[str]) -> list[str]:
    return [posixpath.dirname(path) for path in paths]
