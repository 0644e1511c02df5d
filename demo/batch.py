"""Many pictures at once: `wsol predict` on what was uploaded, and one zip of all it wrote."""

from __future__ import annotations

import queue
import shutil
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsol_deploy import images
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.run import run
from wsol_deploy.batch.sources import Sources
from wsol_deploy.batch.writers import NAMES
from wsol_deploy.demo import uploads, views
from wsol_deploy.demo.sessions import Session
from wsol_deploy.demo.uploads import MB, Limits
from wsol_deploy.errors import DataError, ImageError, UsageError
from wsol_deploy.runtime import Predictor

DEFAULT_SAVE = ("mask", "overlay", "geojson", "csv", "jsonl")
SHOWN = ("overlays/", "cutouts/", "masks/")
MOST_SHOWN = 60
ARCHIVE = "wsol-results.zip"
Entry = dict[str, Any]


@dataclass
class Progress:
    """How far a batch is.

    Attributes:
        total: pictures that came in.
        done: pictures predicted.
        rows: what `wsol predict` says of each, in order.
        failed: (name, reason) of those that cannot be predicted.
        shown: (small picture, name) for the gallery.
        archive: the zip, at the end.
    """

    total: int
    done: int = 0
    rows: list[Entry] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    shown: list[tuple[Path, str]] = field(default_factory=list)
    archive: Path | None = None


def go(
    predictor: Predictor,
    session: Session,
    files: Sequence[Path],
    save: Sequence[str],
    threshold: float,
    limits: Limits,
) -> Iterator[Progress]:
    """Predict uploaded pictures and zips; yields after every picture, and with the zip at the end.

    Args:
        predictor: the page's model.
        session: whose batch it is; its `stop` ends the batch early.
        files: as uploaded.
        save: names of writers of `wsol predict`.
        threshold: of the soft mask, in [0, 1].
        limits: what may come in.

    Raises:
        DataError: nothing usable, too much, or a hostile archive.
        UsageError: an unknown writer, or none.
    """
    if not files:
        raise DataError("choose pictures or a zip of pictures first")
    _check_save(save)
    place = session.place("batch")
    try:
        pictures, output = place / "pictures", place / "results"
        total = uploads.gather(files, pictures, limits)
        progress = Progress(total, failed=_sift(pictures, limits))
        yield progress
        if len(progress.failed) < total:
            options = Options(save=("jsonl", *save), threshold=threshold)
            for entry in _entries(predictor, Sources([pictures]), output, options, session):
                _note(progress, entry, pictures, output, session)
                yield progress
            progress.archive = session.place(ARCHIVE)
            _zip(output, progress.archive)
        yield progress
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _check_save(save: Sequence[str]) -> None:
    if not save:
        raise UsageError("tick at least one thing to write")
    for name in save:
        if name not in NAMES:
            raise UsageError(f"nothing called {name!r} can be written; known: {', '.join(NAMES)}")


def _sift(folder: Path, limits: Limits) -> list[tuple[str, str]]:
    """Remove what the page does not take; names and reasons."""
    refused, pixels = [], 0
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        try:
            pixels += uploads.check_picture(path, limits)
            if not images.is_image(path):
                path.rename(uploads.free_name(path.parent, f"{path.name.lstrip('.')}.png"))
        except ImageError as error:
            refused.append((path.relative_to(folder).as_posix(), str(error)))
            path.unlink()
    if pixels > limits.batch_pixels:
        raise DataError(
            f"{pixels // MB:,} megapixels are too many for one go; this page takes "
            f"{limits.batch_pixels // MB:,}, wsol predict takes any number"
        )
    return refused


def _entries(
    predictor: Predictor, sources: Sources, output: Path, options: Options, session: Session
) -> Iterator[Entry]:
    """Journal entries of the batch command as they come; stops it when nobody listens."""
    arrived: queue.SimpleQueue[Entry | BaseException | None] = queue.SimpleQueue()
    session.stop = stop = threading.Event()

    def work() -> None:
        try:
            run(predictor, sources, output, options, stop=stop, notice=arrived.put)
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    worker = threading.Thread(target=work, name="demo-batch", daemon=True)
    worker.start()
    try:
        while (entry := arrived.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry
    finally:
        stop.set()
        worker.join()


def _note(progress: Progress, entry: Entry, pictures: Path, output: Path, session: Session) -> None:
    name = entry["image"]
    if "failed" in entry:
        progress.failed.append((name, entry["failed"]))
        return
    progress.done += 1
    progress.rows.append(entry["row"])
    if len(progress.shown) < MOST_SHOWN:
        written = (output / file for kind in SHOWN for file in entry["files"] if kind in file)
        source = next(written, pictures / name)
        small = views.fit(images.read(source), 1, views.GALLERY_SIDE)
        path = session.place(f"{Path(name).stem}.png")
        path.write_bytes(views.png(small))
        progress.shown.append((path, name))


def _zip(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                target.write(path, path.relative_to(folder))
