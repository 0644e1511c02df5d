"""The output folder: files appear in it whole or not at all."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

PARTIAL = ".partial"
UNWRITABLE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
Content = bytes | Path | Callable[[Path], None]


class Folder:
    """A folder that is written aside and renamed; safe to use from several threads.

    As a context manager it removes what was being written when it ends.

    Args:
        root: created if missing; leftovers of a killed run are removed.

    Attributes:
        url: where it is, if not on this machine.

    Raises:
        OSError: it cannot be created or written.
    """

    url: str | None = None

    def __init__(self, root: Path) -> None:
        self.root = root
        self._aside = root / PARTIAL
        self._numbers = itertools.count()
        self._made: set[Path] = set()
        root.mkdir(parents=True, exist_ok=True)
        self.clear_aside()
        self._aside.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear_aside()

    def write(self, name: str, content: Content) -> None:
        """Write bytes, a link to another file, or what a function writes to the path it is given,
        at a path below the root."""
        aside = self._aside / str(next(self._numbers))
        if isinstance(content, Path):
            _link(content, aside)
        elif isinstance(content, bytes):
            aside.write_bytes(content)
        else:
            content(aside)
        self._place(aside, name)

    @contextmanager
    def open(self, name: str, mode: str = "w") -> Iterator[IO]:
        """A stream to a file that appears when the block ends well; text is UTF-8."""
        aside = self._aside / str(next(self._numbers))
        text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape"}
        newline = None if "b" in mode else ""
        with aside.open(mode, newline=newline, **text) as stream:  # type: ignore[call-overload]
            yield stream
        self._place(aside, name)

    @property
    def aside(self) -> Path:
        """A folder for what is worked on; it goes with the run."""
        return self._aside

    def has(self, names: list[str]) -> bool:
        """Whether all these files are there."""
        return all(os.path.lexists(self.root / name) for name in names)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        (self.root / name).unlink(missing_ok=True)

    def clear_aside(self) -> None:
        """Remove what was being written."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def _place(self, aside: Path, name: str) -> None:
        target = self.root / name
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        aside.replace(target)


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
