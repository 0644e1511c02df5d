"""Which images are predicted together: decided by the list of images alone.

A batch gives each image the same bits only if it has the same members in the same order. So the
plan never depends on timing or on what is done already: a run that was killed makes the very
batches it would have made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from wsol_deploy import images
from wsol_deploy.batch.sources import Item
from wsol_deploy.card import SizePolicy
from wsol_deploy.errors import ImageError

BATCHES_AHEAD = 16


def plan(
    items: Iterable[Item], batch_size: int, policy: SizePolicy, is_done: Callable[[Item], bool]
) -> Iterator[list[Item]]:
    """Batches of images that the graph sees at one size, at most `batch_size` in each.

    Looks `16 x batch_size` images ahead and reads the headers of those on this machine. A batch
    whose members are all done is left out; any other is given whole.

    Args:
        items: the images, in a fixed order.
        batch_size: 1 for no grouping.
        policy: of the card.
        is_done: whether an image needs nothing more.
    """
    items = iter(items)
    while chunk := list(itertools.islice(items, batch_size * BATCHES_AHEAD)):
        groups: dict[tuple[int, int] | None, list[Item]] = {}
        for item in chunk:
            here = batch_size > 1 and item.url is None
            size = _graph_size(item.path, policy) if here else None
            groups.setdefault(size, []).append(item)
        for members in groups.values():
            for start in range(0, len(members), batch_size):
                batch = members[start : start + batch_size]
                if not all(is_done(item) for item in batch):
                    yield batch


def _graph_size(path: Path, policy: SizePolicy) -> tuple[int, int] | None:
    """(height, width) the graph will see, from the file's header; None if it cannot be read."""
    try:
        return policy.target(*images.size(path))
    except ImageError:
        return None
