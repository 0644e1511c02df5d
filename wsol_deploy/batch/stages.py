"""The three stages an image passes: decode, predict, write. Each may run in its own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy import images
from wsol_deploy.batch import large
from wsol_deploy.batch.cloud import fetch
from wsol_deploy.batch.folder import UNWRITABLE_NAME, Folder
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.page import Page
from wsol_deploy.batch.sources import Item
from wsol_deploy.batch.writers import Writers
from wsol_deploy.errors import ImageError, WsolError
from wsol_deploy.pixelsize import pixel_size
from wsol_deploy.runtime import Prediction, Predictor
from wsol_deploy.runtime.pyramids import Pyramid, open_pyramid

HEAVY = 16_000_000
STAGES = ("decode", "predict", "write")


@dataclass(frozen=True)
class Work:
    """An image on its way.

    Attributes:
        item: the image.
        size: (height, width) once decoded.
        pyramid: of a large image, once opened.
        graph_input: uint8, what the graph sees, once decoded.
        image: uint8, RGB, if a writer draws on it.
        pixel_size: micrometres of a pixel, if known and needed.
        finish: gives the prediction at the image's size, once the graph has run.
        failed: why the image cannot be predicted, or None.
        seconds: time in each stage.
    """

    item: Item
    size: tuple[int, int] = (0, 0)
    pyramid: Pyramid | None = None
    graph_input: np.ndarray | None = None
    image: np.ndarray | None = None
    pixel_size: tuple[float, float] | None = None
    finish: Callable[[], Prediction] | None = None
    failed: str | None = None
    seconds: tuple[float, ...] = ()


class Stages:
    """What is done to an image, for one model, one set of options and one output folder.

    Args:
        predictor: opened for what the writers use.
        options: of the run.
        writers: its writers.
        folder: the output.
        streams: batches that the model runs at the same time.
    """

    def __init__(
        self,
        predictor: Predictor,
        options: Options,
        writers: Writers,
        folder: Folder,
        streams: int = 1,
    ) -> None:
        self._predictor = predictor
        self._options = options
        self._writers = writers
        self._folder = folder
        self._streams = streams
        self._alone = threading.Lock()  # of the images that need much memory one at a time

    def decode(self, item: Item) -> Work:
        """Fetch the file if it is in a cloud, read it, bring it to the size the graph sees."""
        start = time.perf_counter()
        try:
            if item.url is not None:
                item = replace(item, path=fetch(item, self._folder.aside))
            if large.is_large(item.path, self._predictor.card.input.size, self._options):
                return self._open(item, start)
            with self._alone if _is_heavy(item.path) else nullcontext():
                image = images.read(item.path)
                graph_input = self._predictor.prepare(image)
        except WsolError as error:
            return _failed(item, error)
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
        done = [self._predict_large(work) if work.pyramid else work for work in works]
        for group in _same_shape(works):
            start = time.perf_counter()
            try:
                batch = np.stack([_pixels(works[index]) for index in group])
                outputs = self._predictor.run(batch)
            except ImageError as error:
                for index in group:
                    done[index] = _failed(works[index].item, error)
                continue
            seconds = (time.perf_counter() - start) / len(group)
            for row, index in enumerate(group):
                own = {name: values[row] for name, values in outputs.items()}
                done[index] = replace(
                    works[index],
                    graph_input=None,
                    finish=partial(self._finish, own, works[index]),
                    seconds=(*works[index].seconds, seconds),
                )
        return done

    def write(self, work: Work) -> dict[str, Any]:
        """Write the image's files; its journal entry."""
        try:
            return self._write(work)
        finally:
            if work.item.url is not None:
                work.item.path.unlink(missing_ok=True)

    def _write(self, work: Work) -> dict[str, Any]:
        if work.finish is None:
            return {"image": work.item.name, "failed": work.failed}
        start = time.perf_counter()
        names: list[str] = []
        try:
            page = Page(work.item.name, work.item.path, work.finish(), work.pixel_size)
            with self._alone if work.pyramid else nullcontext():
                for name, content in self._writers.write(page):
                    self._folder.write(name, content)
                    names.append(name)
                sections = self._writers.sections(page)
        except (WsolError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in UNWRITABLE_NAME:
                raise
            for name in names:
                self._folder.remove(name)
            reason = error.strerror if isinstance(error, OSError) else error
            return {"image": work.item.name, "failed": f"its output cannot be written: {reason}"}
        seconds = (*work.seconds, time.perf_counter() - start)
        return {
            "image": work.item.name,
            "version": work.item.version,
            "files": names,
            "seconds": dict(zip(STAGES, seconds, strict=True)),
            **sections,
        }

    def _open(self, item: Item, start: float) -> Work:
        with self._alone:
            pyramid = open_pyramid(item.path)
        seconds = (time.perf_counter() - start,)
        return Work(
            item, pyramid.sizes[0], pyramid=pyramid, pixel_size=pyramid.mpp, seconds=seconds
        )

    def _predict_large(self, work: Work) -> Work:
        assert work.pyramid is not None
        start = time.perf_counter()
        try:
            with self._alone:
                prediction = large.predict(
                    self._predictor,
                    work.pyramid,
                    self._options,
                    self._writers.needs_image,
                    self._streams,
                )
        except WsolError as error:
            return _failed(work.item, error)
        finally:
            work.pyramid.close()
        seconds = (*work.seconds, time.perf_counter() - start)
        return replace(work, finish=lambda: prediction, seconds=seconds)

    def _finish(self, outputs: dict[str, np.ndarray], work: Work) -> Prediction:
        return self._predictor.finish(
            outputs,
            work.size,
            threshold=self._options.threshold,
            post=self._options.post,
            image=work.image,
        )


def _failed(item: Item, error: WsolError) -> Work:
    reason = str(error).removeprefix(f"{item.path}: ").removeprefix(f"{item.url}: ")
    return Work(item, failed=reason)


def _is_heavy(path: Path) -> bool:
    try:
        height, width = images.size(path)
    except ImageError:
        return False
    return height * width > HEAVY


def _pixels(work: Work) -> np.ndarray:
    assert work.graph_input is not None
    return work.graph_input


def _same_shape(works: Sequence[Work]) -> Iterator[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, work in enumerate(works):
        if work.graph_input is not None:
            groups.setdefault(work.graph_input.shape, []).append(index)
    yield from groups.values()
