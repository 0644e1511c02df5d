"""An output folder at a URL: files appear in it whole or not at all, as they do here."""

from __future__ import annotations

import errno
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from wsol_deploy.batch.cloud import protocols, reach, reason
from wsol_deploy.batch.folder import PARTIAL, UNWRITABLE_NAME, Content, Folder

PUT_WHOLE = frozenset((
    "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory",
))  # fmt: skip


class CloudFolder(Folder):
    """A folder at a URL; safe to use from several threads, and from several machines.

    Object stores put whole objects. Elsewhere a file is put aside and renamed.

    Args:
        url: of the folder; it need not exist.
        alone: no other process writes there now: what a killed run left aside is removed.

    Attributes:
        root: a folder of this machine for what is worked on; it goes with the run.

    Raises:
        DataError: the place cannot be reached, or the package of its protocol is missing.
        MissingExtra: fsspec is not installed.
    """

    def __init__(self, url: str, alone: bool = True) -> None:
        self.url = url.rstrip("/")
        self._system, base = reach(url, "Writing to")
        self._base = base.rstrip("/")
        self._puts_whole = bool(PUT_WHOLE & protocols(self._system))
        self._alone = alone
        self._there: set[str] | None = None
        self._made_there: set[str] = set()
        super().__init__(Path(tempfile.mkdtemp(prefix="wsol-")))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.root, ignore_errors=True)

    def write(self, name: str, content: Content) -> None:
        """As in `Folder`; of a link the file it leads to is put.

        Raises:
            OSError: it cannot be put there; `filename` is its URL.
        """
        if isinstance(content, bytes):
            self._put(name, lambda path: self._system.pipe_file(path, content))
        else:
            super().write(name, content)

    def read(self, name: str) -> bytes:
        """A file's content. Raises OSError."""
        with _naming(f"{self.url}/{name}", "cannot be read"):
            return self._system.cat_file(f"{self._base}/{name}")

    def names(self, below: str = "") -> list[str]:
        """Every file below a path of the folder, sorted. Raises OSError."""
        with _naming(f"{self.url}/{below}".rstrip("/"), "cannot be listed"):
            self._system.invalidate_cache()
            try:
                paths = self._system.find(f"{self._base}/{below}".rstrip("/"))
            except FileNotFoundError:
                return []
        return sorted(path.removeprefix(f"{self._base}/") for path in paths)

    def has(self, names: list[str]) -> bool:
        """Whether all these files are there: listed once, and kept up with what is put."""
        if self._there is None:
            self._there = set(self.names())
        return self._there.issuperset(names)

    def remove(self, name: str) -> None:
        """Remove a file if it is there. Raises OSError."""
        with _naming(f"{self.url}/{name}", "cannot be removed"), suppress(FileNotFoundError):
            self._system.rm_file(f"{self._base}/{name}")
        if self._there is not None:
            self._there.discard(name)

    def clear_aside(self) -> None:
        """Remove what was being written, here and there."""
        super().clear_aside()
        if self._alone and not self._puts_whole:
            with suppress(Exception):  # mostly nothing is there; what else is wrong, a write tells
                self._system.rm(f"{self._base}/{PARTIAL}", recursive=True)
            self._made_there.clear()

    def _place(self, aside: Path, name: str) -> None:
        self._put(name, partial(self._put_file, aside))
        aside.unlink()

    def _put(self, name: str, put: Callable[[str], object]) -> None:
        target = f"{self._base}/{name}"
        with _naming(f"{self.url}/{name}", "cannot be written"):
            if self._puts_whole:
                put(target)
            else:
                aside = f"{self._base}/{PARTIAL}/{self.root.name}-{next(self._numbers)}"
                self._make_parent(aside)
                self._make_parent(target)
                put(aside)
                self._system.mv(aside, target)
        if self._there is not None:
            self._there.add(name)

    def _put_file(self, source: Path, target: str) -> None:
        try:
            self._system.put_file(str(source), target)
        except FileExistsError:  # some put no file over another
            self._system.rm_file(target)
            self._system.put_file(str(source), target)

    def _make_parent(self, path: str) -> None:
        parent = posixpath.dirname(path)
        if parent not in self._made_there:
            self._system.makedirs(parent, exist_ok=True)
            self._made_there.add(parent)


@contextmanager
def _naming(place: str, what: str) -> Iterator[None]:
    """Each file system fails in its own way: make it an OSError that names the place."""
    try:
        yield
    except UnicodeError as error:
        raise OSError(errno.EILSEQ, reason(error), place) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE_NAME:
            raise OSError(error.errno, reason(error), place) from error
        raise OSError(errno.EIO, f"{what} ({reason(error)})", place) from error
