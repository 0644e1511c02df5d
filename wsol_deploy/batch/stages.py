"""The three stages an image passes: decode, predict, write. Each may run in its own thread."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy import images
from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.page import Page
from wsol_deploy.batch.pixelsize import pixel_size
from wsol_deploy.batch.sources import Item
from wsol_deploy.batch.writers import Writers
from wsol_deploy.errors import ImageError
from wsol_deploy.runtime import Predictor

LARGE = 16_000_000
STAGES = ("decode", "predict", "write")
UNWRITABLE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


@dataclass(frozen=True)
class Work:
    """An image on its way.

    Attributes:
        item: the image.
        size: (height, width) once decoded.
        graph_input: uint8, what the graph sees, once decoded.
        image: uint8, RGB, if a writer draws on it.
        pixel_size: micrometres of a pixel, if known and needed.
        outputs: of the graph, without the batch axis, once predicted.
        failed: why the image cannot be predicted, or None.
        seconds: time in each stage.
    """

    item: Item
    size: tuple[int, int] = (0, 0)
    graph_input: np.ndarray | None = None
    image: np.ndarray | None = None
    pixel_size: tuple[float, float] | None = None
    outputs: dict[str, np.ndarray] | None = None
    failed: str | None = None
    seconds: tuple[float, ...] = ()


class Stages:
    """What is done to an image, for one model, one set of options and one output folder."""

    def __init__(
        self, predictor: Predictor, options: Options, writers: Writers, folder: Folder
    ) -> None:
        self._predictor = predictor
        self._options = options
        self._writers = writers
        self._folder = folder
        self._alone = threading.Lock()  # large images are decoded one at a time

    def decode(self, item: Item) -> Work:
        """Read the file and bring it to the size the graph sees."""
        start = time.perf_counter()
        try:
            with self._alone if _is_large(item.path) else nullcontext():
                image = images.read(item.path)
                graph_input = self._predictor.prepare(image)
        except ImageError as error:
            return Work(item, failed=str(error).removeprefix(f"{item.path}: "))
        needs_size = self._options.instances or "geojson" in self._options.save
        return Work(
            item,
            size=(image.shape[0], image.shape[1]),
            graph_input=graph_input,
            image=image if self._writers.needs_image else None,
            pixel_size=pixel_size(item.path) if needs_size else None,
            seconds=(time.perf_counter() - start,),
        )

    def predict(self, works: Sequence[Work]) -> list[Work]:
        """Run the graph on images together; those of another size than the first run apart."""
        done = list(works)
        for group in _same_shape(works):
            start = time.perf_counter()
            try:
                batch = np.stack([_pixels(works[index]) for index in group])
                outputs = self._predictor.run(batch)
            except ImageError as error:
                for index in group:
                    done[index] = Work(works[index].item, failed=str(error))
                continue
            seconds = (time.perf_counter() - start) / len(group)
            for row, index in enumerate(group):
                done[index] = replace(
                    works[index],
                    graph_input=None,
                    outputs={name: values[row] for name, values in outputs.items()},
                    seconds=(*works[index].seconds, seconds),
                )
        return done

    def write(self, work: Work) -> dict[str, Any]:
        """Write the image's files; its journal entry."""
        if work.outputs is None:
            return {"image": work.item.name, "failed": work.failed}
        start = time.perf_counter()
        names: list[str] = []
        try:
            page = self._page(work, work.outputs)
            for name, content in self._writers.write(page):
                self._folder.write(name, content)
                names.append(name)
        except (ImageError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in UNWRITABLE_NAME:
                raise
            for name in names:
                self._folder.remove(name)
            reason = error.strerror if isinstance(error, OSError) else error
            return {"image": work.item.name, "failed": f"its output cannot be written: {reason}"}
        sections = self._writers.sections(page)
        seconds = (*work.seconds, time.perf_counter() - start)
        return {
            "image": work.item.name,
            "files": names,
            "seconds": dict(zip(STAGES, seconds, strict=True)),
            **sections,
        }

    def _page(self, work: Work, outputs: dict[str, np.ndarray]) -> Page:
        prediction = self._predictor.finish(
            outputs,
            work.size,
            threshold=self._options.threshold,
            post=self._options.post,
            image=work.image,
        )
        return Page(work.item.name, work.item.path, prediction, work.pixel_size)


def _is_large(path: Path) -> bool:
    try:
        height, width = images.size(path)
    except ImageError:
        return False
    return height * width > LARGE


def _pixels(work: Work) -> np.ndarray:
    assert work.graph_input is not None
    return work.graph_input


def _same_shape(works: Sequence[Work]) -> Iterator[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, work in enumerate(works):
        if work.graph_input is not None:
            groups.setdefault(work.graph_input.shape, []).append(index)
    yield from groups.values()
