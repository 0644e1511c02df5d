"""The journal at a URL, in numbered pieces: what is put there cannot be appended to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from wsol_deploy.batch.cloud_folder import CloudFolder
from wsol_deploy.batch.journal import NAME, Journal
from wsol_deploy.errors import WsolError

PIECES = "journal"
PIECE_BYTES = 65_536
LINES_AHEAD = 32
REMOVALS_AT_ONCE = 16


class CloudJournal(Journal):
    """A journal on a file of this machine, put together from its pieces, which are kept up with it.

    The last piece is put again with every line until it is full. One put carries the lines that
    came while the one before was under way, at most 32 of them; a run that is killed loses these.

    Args:
        folder: the output.
        run, overwrite: see `Journal`. Nothing keeps a second run out of the folder.

    Raises:
        WsolError: the folder was written by another run, or it cannot be read and written.
    """

    def __init__(self, folder: CloudFolder, run: dict[str, Any], overwrite: bool = False) -> None:
        self._folder = folder
        self._lines: deque[bytes] = deque()
        self._puts: deque[Future[None]] = deque()
        self._putter = ThreadPoolExecutor(1, "journal")
        path = folder.root / NAME
        try:
            self._piece, self._content = _gather(folder, path)
            folder.write(_name(self._piece), self._content)  # shows whether it can be written
        except OSError as error:
            raise WsolError(
                f"{folder.url}: {error.strerror}; check the address and its credentials"
            ) from error
        super().__init__(path, run, overwrite)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._putter.shutdown()
        super().__exit__(kind, error, trace)
        while self._puts and error is None:
            self._puts.popleft().result()

    @property
    def place(self) -> str:
        return self._folder.url or ""

    def _write(self, line: bytes) -> int:
        offset = super()._write(line)
        self._lines.append(line)
        self._puts.append(self._putter.submit(self._put))
        while self._puts and (len(self._puts) > LINES_AHEAD or self._puts[0].done()):
            self._puts.popleft().result()
        return offset

    def _put(self) -> None:
        """Put the lines that wait, with those of the same piece before them."""
        if not self._lines:
            return
        while self._lines:
            self._content += self._lines.popleft()
        self._folder.write(_name(self._piece), self._content)
        if len(self._content) >= PIECE_BYTES:
            self._piece, self._content = self._piece + 1, b""

    def _remove(self, names: Iterable[str]) -> None:
        """Remove files, then all pieces but the first, which the new run writes over."""
        names = iter(names)
        with ThreadPoolExecutor(REMOVALS_AT_ONCE) as pool:
            while some := list(islice(names, 1000)):
                list(pool.map(self._folder.remove, some))
        for piece in range(self._piece, 0, -1):
            self._folder.remove(_name(piece))
        self._piece, self._content = 0, b""


def _gather(folder: CloudFolder, path: Path) -> tuple[int, bytes]:
    """Put the pieces together; the number of the piece to go on with, and its content."""
    names = folder.names(PIECES)
    content = b""
    with path.open("wb") as stream:
        for name in names:
            content = folder.read(name)
            stream.write(content)
    if len(content) >= PIECE_BYTES:
        return len(names), b""
    return max(0, len(names) - 1), content


def _name(piece: int) -> str:
    return f"{PIECES}/{piece:06d}.jsonl"
