"""Decoding, predicting and writing at the same time, with bounded memory, in a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2

from wsol_deploy.batch.sources import Item
from wsol_deploy.batch.stages import Stages, Work
from wsol_deploy.machine import cores

PIXELS_IN_FLIGHT = 32_000_000
CPU_STREAMS = 2


def run(
    stages: Stages, batches: Iterable[list[Item]], streams: int, workers: int
) -> Iterator[dict[str, Any]]:
    """Journal entries of every image, in the order of the batches.

    Each pool takes its work in order and each stage waits for the one before it, so nothing can
    wait in a circle. At most a few images a worker are on their way, and fewer if they are large.

    Args:
        stages: what to do.
        batches: images to predict together; taken as there is room.
        streams: batches that the model runs at the same time.
        workers: threads that decode, and as many that write.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    readers = ThreadPoolExecutor(workers, "decode")
    model = ThreadPoolExecutor(streams, "predict")
    writers = ThreadPoolExecutor(workers, "write")
    in_flight: deque[_Batch] = deque()
    try:
        for items in batches:
            while _is_full(in_flight, (2 + streams) * len(items) + 2 * workers):
                yield from in_flight.popleft().entries()
            in_flight.append(_Batch(stages, items, readers, model, writers))
        while in_flight:
            yield from in_flight.popleft().entries()
    finally:
        for pool in (readers, model, writers):
            pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)


def streams_and_threads(images: int) -> tuple[int, int]:
    """How the CPU's cores are shared out: batches at the same time, threads of each.

    Two batches side by side waste less than one with all the cores: few operators can use them
    all at every moment. One image alone gets them all.
    """
    streams = min(CPU_STREAMS, images, cores())
    return streams, cores() // streams


def default_workers(device: str) -> int:
    """Threads that decode: few where the model itself needs the cores, many beside a GPU."""
    return max(2, min(16, cores() // (8 if device == "cpu" else 2)))


class _Batch:
    """Images predicted together, on their way through the pools."""

    def __init__(
        self,
        stages: Stages,
        items: list[Item],
        readers: ThreadPoolExecutor,
        model: ThreadPoolExecutor,
        writers: ThreadPoolExecutor,
    ) -> None:
        self._decoded = [readers.submit(stages.decode, item) for item in items]
        self._predicted = model.submit(_predict, stages, self._decoded)
        self._written = [
            writers.submit(_write, stages, self._predicted, index) for index in range(len(items))
        ]

    def __len__(self) -> int:
        return len(self._written)

    def pixels(self) -> int:
        """Pixels of those images that are decoded and not yet written."""
        return sum(
            decoded.result().size[0] * decoded.result().size[1]
            for decoded, written in zip(self._decoded, self._written, strict=True)
            if decoded.done() and not written.done()
        )

    def entries(self) -> Iterator[dict[str, Any]]:
        """Wait for each image's journal entry."""
        for written in self._written:
            yield written.result()


def _is_full(in_flight: deque[_Batch], limit: int) -> bool:
    if not in_flight:
        return False
    if sum(map(len, in_flight)) >= limit:
        return True
    return sum(batch.pixels() for batch in in_flight) >= PIXELS_IN_FLIGHT


def _predict(stages: Stages, decoded: list[Future[Work]]) -> list[Work]:
    return stages.predict([future.result() for future in decoded])


def _write(stages: Stages, predicted: Future[list[Work]], index: int) -> dict[str, Any]:
    return stages.write(predicted.result()[index])
