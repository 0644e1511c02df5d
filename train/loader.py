"""Training and validation images as batches, read and augmented ahead of the steps."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from wsol_deploy import images
from wsol_deploy.card import SizePolicy
from wsol_deploy.datasets.base import Sample
from wsol_deploy.errors import ImageError
from wsol_deploy.train.augment import augment
from wsol_deploy.train.recipe import DataRecipe

CACHE_LIMIT = 8 << 30
AHEAD = 3
T = TypeVar("T")
R = TypeVar("R")
Target = Callable[[Sample], int | list[float]]


class Batch(NamedTuple):
    """Images (uint8, n x 3 x h x w), labels (int64, n; of multi-label images float32, n x c), the
    samples' numbers, and where masks are learned from those (uint8, n x m x h x w, 255 inside)."""

    x: Tensor
    labels: Tensor
    indices: tuple[int, ...]
    masks: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """Which of several processes this one is."""

    rank: int = 0
    size: int = 1


def the_label(sample: Sample) -> int:
    """The class of an image that shows one."""
    return sample.label


def many_hot(classes: int) -> Target:
    """For images that show several: 1.0 for each class that is shown, else 0.0."""
    return lambda sample: [float(index in sample.labels) for index in range(classes)]


class Images:
    """Samples' pixels at the recipe's size, kept decoded in memory as long as they fit.

    Args:
        samples: the images.
        policy: how they are resized.
        limit: bytes to keep; None for a quarter of the free memory, at most 8 GiB.
        masks: whether `planes` have the samples' masks.
        target: what a sample's label is in a batch.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        policy: SizePolicy,
        limit: int | None = None,
        *,
        masks: bool = False,
        target: Target = the_label,
    ) -> None:
        self.samples = samples
        self.masks = masks
        self.target = target
        self.policy = policy
        self._room = _free_memory() // 4 if limit is None else limit
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8, H x W x 3. Raises ImageError."""
        planes = self.planes(index)
        return planes[:, :, :3] if self.masks else planes

    def planes(self, index: int) -> np.ndarray:
        """uint8, H x W x 3, or with masks H x W x (3 + m), 255 inside a mask.

        Raises:
            ImageError: the image or its mask cannot be read.
        """
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        pixels = self._load(self.samples[index])
        with self._lock:
            if index not in self._kept and pixels.nbytes <= self._room:
                self._room -= pixels.nbytes
                self._kept[index] = pixels
        return pixels

    def unreadable(self) -> list[str]:
        """The reason of each image that cannot be read; those kept in memory are not read again."""

        def reason(index: int) -> str | None:
            try:
                self.planes(index)
            except ImageError as error:
                return str(error)
            return None

        with ThreadPoolExecutor() as pool:
            return [found for found in pool.map(reason, range(len(self))) if found]

    def _load(self, sample: Sample) -> np.ndarray:
        image = sample.read_image()
        if self.masks:
            image = np.dstack([image, sample.read_mask() * np.uint8(255)])
        return images.fit(image, self.policy)


class TaughtImages(Images):
    """Images with masks that are drawn when they are first asked for.

    Args:
        images: the same without masks.
        draw: of an image (uint8, H x W x 3) its masks, uint8, H x W x m.
    """

    def __init__(self, images: Images, draw: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(images.samples, images.policy, masks=True, target=images.target)
        self._draw = draw

    def _load(self, sample: Sample) -> np.ndarray:
        image = images.fit(sample.read_image(), self.policy)
        return np.dstack([image, self._draw(image)])


class TrainLoader:
    """Updates of an epoch, each a list of batches.

    The order of an epoch depends on (seed, epoch), the variants of an image on
    (seed, epoch, image): not on the threads, the other images, or where a run was resumed. Several
    variants of an image follow each other. The last update keeps what is left. Several processes
    take equal parts of every update; what does not divide at the end of an epoch, fewer variants
    than processes, is left out of it.

    Args:
        images: of the training.
        recipe: augmentation and threads.
        batch_size: images a batch.
        accumulate: batches an update.
        seed: of order and augmentation.
        share: this process.
    """

    def __init__(
        self,
        images: Images,
        recipe: DataRecipe,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        share: Share = Share(),
    ) -> None:
        self._images, self._recipe = images, recipe
        self._batch_size, self._seed, self._share = batch_size, seed, share
        self._update_size = batch_size * accumulate * share.size

    def __len__(self) -> int:
        """Updates an epoch."""
        return -(-self._used // self._update_size)

    @property
    def _used(self) -> int:
        variants = len(self._images) * self._recipe.crops
        return variants // self._share.size * self._share.size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Iterator[Batch]]]:
        """The updates of an epoch from number `start` on: variants of all processes, and batches.

        A variant's number is that of its image times the recipe's crops, plus which of them it is.

        Raises:
            ImageError: an image cannot be read.
        """
        rng = np.random.default_rng([self._seed, epoch])
        crops = self._recipe.crops
        first = crops * rng.permutation(len(self._images))
        order = (first[:, None] + np.arange(crops)).ravel()[: self._used]
        updates = [
            order[at : at + self._update_size]
            for at in range(start * self._update_size, len(order), self._update_size)
        ]
        plans = [self._batches(update) for update in updates]
        stream = ahead(
            lambda number: self._variant(epoch, number),
            [batch for plan in plans for batch in plan],
            self._recipe.readers,
        )
        for update, plan in zip(updates, plans, strict=True):
            yield len(update), (self._collect(*found) for found in islice(stream, len(plan)))

    def _batches(self, update: np.ndarray) -> list[list[int]]:
        own = update[self._share.rank :: self._share.size].tolist()
        return [own[at : at + self._batch_size] for at in range(0, len(own), self._batch_size)]

    def _variant(self, epoch: int, number: int) -> Tensor:
        index, variant = divmod(number, self._recipe.crops)
        rng = np.random.default_rng([self._seed, epoch, index, variant])
        return augment(self._images.planes(index), self._recipe, rng)

    def _collect(self, numbers: list[int], variants: list[Tensor]) -> Batch:
        indices = [number // self._recipe.crops for number in numbers]
        return _batch(self._images, indices, torch.stack(variants))


def whole_images(
    images: Images, batch_size: int, workers: int = 0, share: Share = Share()
) -> Iterator[Batch]:
    """Every image once, whole, in order; neighbours of one size share a batch.

    Raises:
        ImageError: an image cannot be read.
    """
    own = range(share.rank, len(images), share.size)
    chunks = [list(own[at : at + batch_size]) for at in range(0, len(own), batch_size)]
    for indices, pixels in ahead(images.planes, chunks, workers):
        shapes = [one.shape for one in pixels]
        start = 0
        for stop in range(1, len(shapes) + 1):
            if stop == len(shapes) or shapes[stop] != shapes[start]:
                x = torch.from_numpy(np.stack(pixels[start:stop])).permute(0, 3, 1, 2)
                yield _batch(images, indices[start:stop], x)
                start = stop


def ahead(
    work: Callable[[T], R], chunks: Iterable[list[T]], workers: int
) -> Iterator[tuple[list[T], list[R]]]:
    """Each chunk with the work done on its members, a few chunks ahead of what is asked for."""
    if workers == 0:
        for chunk in chunks:
            yield chunk, [work(one) for one in chunk]
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    queue: deque[tuple[list[T], list[Future[R]]]] = deque()
    try:
        for chunk in chunks:
            queue.append((chunk, [pool.submit(work, one) for one in chunk]))
            if len(queue) > AHEAD:
                yield _results(*queue.popleft())
        while queue:
            yield _results(*queue.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _results(chunk: list[T], futures: list[Future[R]]) -> tuple[list[T], list[R]]:
    return chunk, [future.result() for future in futures]


def _batch(images: Images, indices: Sequence[int], x: Tensor) -> Batch:
    labels = torch.tensor([images.target(images.samples[index]) for index in indices])
    masks = x[:, 3:] if images.masks else None
    return Batch(x[:, :3], labels, tuple(indices), masks)


def _free_memory() -> int:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return CACHE_LIMIT
    return min(free, 4 * CACHE_LIMIT)
