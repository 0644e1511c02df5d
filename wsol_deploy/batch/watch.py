"""Files as they arrive in a folder: each is given once it has stopped changing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wsol_deploy.batch.sources import Item

State = tuple[int, int]


class Settled:
    """The images that did not change since the last time around, each once a version.

    Args:
        sources: all images; gone through on every iteration.
        is_done: images of these names are passed over.
    """

    def __init__(self, sources: Iterable[Item], is_done: Callable[[str], bool]) -> None:
        self._sources = sources
        self._is_done = is_done
        self._seen: dict[str, State] = {}
        self._given: dict[str, State] = {}

    def __iter__(self) -> Iterator[Item]:
        for item in self._sources:
            if self._is_done(item.name):
                self._seen.pop(item.name, None)
                self._given.pop(item.name, None)
                continue
            try:
                status = item.path.stat()
            except OSError:
                continue
            state = (status.st_size, status.st_mtime_ns)
            if self._seen.get(item.name) == state and self._given.get(item.name) != state:
                self._given[item.name] = state
                yield item
            self._seen[item.name] = state
