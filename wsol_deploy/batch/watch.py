"""Files as they arrive in a folder: each is given once it has stopped changing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wsol_deploy.batch.sources import Item

Version = tuple[int, int]


class Settled:
    """The images that did not change since the last time around, each once a version.

    Args:
        sources: all images; gone through on every iteration.
        is_done: whether an image needs nothing more; it is passed over.
    """

    def __init__(self, sources: Iterable[Item], is_done: Callable[[Item], bool]) -> None:
        self._sources = sources
        self._is_done = is_done
        self._seen: dict[str, Version] = {}
        self._given: dict[str, Version] = {}

    def __iter__(self) -> Iterator[Item]:
        for item in self._sources:
            if self._is_done(item):
                self._seen.pop(item.name, None)
                self._given.pop(item.name, None)
                continue
            if item.version is None:
                continue
            known = self._seen.get(item.name)
            if known == item.version and self._given.get(item.name) != item.version:
                self._given[item.name] = item.version
                yield item
            self._seen[item.name] = item.version
