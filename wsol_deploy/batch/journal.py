"""The journal: what is done, one line an image, appended and flushed; a run resumes from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from wsol_deploy.errors import WsolError
from wsol_deploy.locks import lock

NAME = "journal.jsonl"
VERSION = 1


class Journal:
    """An append-only file of JSON lines; the first says what the run is.

    A line that a kill cut short is dropped. The last line about an image counts; what failed in an
    earlier run is forgotten, so that it is tried again.

    Args:
        path: the file; created if missing.
        run: what must be equal for the folder to go on: model, threshold, options.
        overwrite: start anew; the files an older journal names are removed.

    Raises:
        WsolError: the folder was written by another run; the message names the difference.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, run: dict[str, Any], overwrite: bool = False) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}
        self._failed: set[str] = set()
        self._new: set[str] = set()
        self._stream = path.open("ab")
        try:
            lock(self._stream.fileno(), path.parent, "wsol predict")
            if overwrite:
                self._remove(_written(path))
            end = 0 if overwrite else self._replay(run)
        except BaseException:
            self._stream.close()
            raise
        self._stream.truncate(end)
        if end == 0:
            self._append({"journal": VERSION, "run": run})

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def __len__(self) -> int:
        """Images done, without those that failed."""
        return len(self._offsets) - len(self._failed)

    @property
    def failures(self) -> int:
        """Images that failed."""
        return len(self._failed)

    @property
    def new(self) -> int:
        """Images done since it was opened that were not done before as they are now."""
        return len(self._new - self._failed)

    @property
    def place(self) -> object:
        """The output folder, for messages."""
        return self._path.parent

    def add(self, entry: dict[str, Any]) -> None:
        """Append one image's entry, with `image` and, if it failed, `failed`."""
        if self.files(entry["image"], entry.get("version")) is None:
            self._new.add(entry["image"])
        self._note(entry, self._append(entry))

    def __contains__(self, name: str) -> bool:
        return name in self._offsets and name not in self._failed

    def files(self, name: str, version: Sequence[int] | None = None) -> list[str] | None:
        """The files written for an image; None if it is not done, or not in this version of it."""
        if name not in self:
            return None
        with self._path.open("rb") as stream:
            entry = self._at(stream, name)
        same = version is None or entry.get("version", [*version]) == [*version]
        return entry["files"] if same else None

    def entries(self) -> Iterator[dict[str, Any]]:
        """The last entry of every image, sorted by name."""
        with self._path.open("rb") as stream:
            for name in sorted(self._offsets):
                yield self._at(stream, name)

    def _at(self, stream: Any, name: str) -> dict[str, Any]:
        stream.seek(self._offsets[name])
        return json.loads(stream.readline())

    def _append(self, entry: dict[str, Any]) -> int:
        return self._write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> int:
        offset = self._stream.seek(0, 2)
        self._stream.write(line)
        self._stream.flush()
        return offset

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._path.parent / name).unlink(missing_ok=True)

    def _note(self, entry: dict[str, Any], offset: int) -> None:
        name = entry["image"]
        self._offsets[name] = offset
        if "failed" in entry:
            self._failed.add(name)
        else:
            self._failed.discard(name)

    def _replay(self, run: dict[str, Any]) -> int:
        """Read what is there; the offset behind the last whole line."""
        end = 0
        with self._path.open("rb") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                if end == 0:
                    _same_run(self.place, entry.get("run", {}), run)
                elif "failed" not in entry:
                    self._note(entry, end)
                end += len(line)
        return end


def _written(path: Path) -> Iterator[str]:
    """Every output file that a journal names, as far as it can be read."""
    with path.open("rb") as stream:
        for line in stream:
            try:
                names = json.loads(line).get("files", ())
            except ValueError:
                return
            yield from names


def _same_run(folder: object, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        told = "; ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed)
        raise WsolError(
            f"{folder}: written by another run ({told}); choose another folder, or --overwrite"
        )
