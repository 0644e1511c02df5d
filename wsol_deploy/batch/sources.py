"""Which images a command means: files, folders and globs, each with a name that is its own."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from wsol_deploy import images
from wsol_deploy.batch.journal import NAME as JOURNAL
from wsol_deploy.errors import DataError
from wsol_deploy.runtime.pyramids import SLIDE_SUFFIXES, TIFF_SUFFIXES

FOLDERS = (
    "masks", "probabilities", "overlays", "heatmaps", "class-masks", "cutouts", "geojson",
    "labelme", "yolo",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """One image to predict.

    Attributes:
        path: the file.
        name: its path below the folder that holds all sources, with `/`, extension included;
            no two images share it.
        url: where it is, if not on this machine; `path` is then only its name there.
        version: size in bytes and time of the last change in ns when it was found, if known.
    """

    path: Path
    name: str
    url: str | None = None
    version: tuple[int, int] | None = None


class Sources:
    """The images that the command line names.

    Args:
        sources: files (taken whatever their suffix), folders (searched for images, all levels,
            without what an earlier run wrote) and globs.
        output: the folder that is written to; what lies in its subfolders is no image to predict.

    Attributes:
        base: the deepest folder that holds every source; names are relative to it.

    Raises:
        DataError: a source does not exist, or no file matches a glob.
    """

    def __init__(self, sources: Sequence[str | Path], output: Path | None = None) -> None:
        self._roots = sorted({Path(os.path.abspath(p)) for s in sources for p in _expand(str(s))})  # noqa: PTH100
        written = FOLDERS if output is not None else ()
        self._leave_out = {Path(os.path.abspath(output or ".")) / name for name in written}  # noqa: PTH100
        folders = [root if root.is_dir() else root.parent for root in self._roots]
        self.base = Path(os.path.commonpath(folders))

    def at_least(self, few: int) -> int:
        """How many images there are, counted up to `few`.

        Raises:
            DataError: there is none.
        """
        count = sum(1 for _ in islice(self, few))
        if not count:
            raise DataError(f"{self.base}: no image in it")
        return count

    def __iter__(self) -> Iterator[Item]:
        """Every image once, in sorted order, found while iterating."""
        covered: Path | None = None
        for root in self._roots:
            if covered is not None and root.is_relative_to(covered):
                continue
            if root.is_dir():
                covered = root
                paths = _walk(root, self._leave_out)
            else:
                paths = iter((root,))
            for path in paths:
                yield Item(path, path.relative_to(self.base).as_posix(), version=_version(path))


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def is_source(path: Path) -> bool:
    """Whether the file's suffix is that of an image or of a whole slide, and it is not hidden."""
    streamed = path.suffix.lower() in SLIDE_SUFFIXES | TIFF_SUFFIXES
    return images.is_image(path) or (streamed and not path.name.startswith("."))


def _expand(source: str) -> list[str]:
    if os.path.lexists(source):
        return [source]
    matches = glob.glob(source, recursive=True)  # noqa: PTH207
    if not matches:
        wild = glob.has_magic(source)
        raise DataError(f"{source}: {'no file matches' if wild else 'no such file or folder'}")
    return [m for m in matches if Path(m).is_dir() or is_source(Path(m))]


def _walk(folder: Path, leave_out: set[Path], above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Images below a folder, one folder's names in memory at a time, hidden ones left out.

    A folder that cannot be listed is given itself, to fail as an image of its name; a link to a
    folder above it ends the way, and so does a folder that an earlier run filled.
    """
    real = folder.resolve()
    if folder in leave_out or real in above:
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted((e.name, e.is_dir()) for e in entries if not e.name.startswith("."))
    except OSError:
        yield folder
        return
    written = FOLDERS if (JOURNAL, False) in found else ()
    for name, is_folder in found:
        if name in written:
            continue
        if is_folder:
            yield from _walk(folder / name, leave_out, (*above, real))
        elif is_source(Path(name)):
            yield folder / name
