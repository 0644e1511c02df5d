"""One run of the batch command: plan, engine, journal, tables."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from wsol_deploy.artifacts import read_card
from wsol_deploy.batch import pools, report
from wsol_deploy.batch.cloud import CloudSources
from wsol_deploy.batch.destination import Output, opened
from wsol_deploy.batch.engines import Engine, Entry, LocalEngine
from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.journal import Journal
from wsol_deploy.batch.large import is_large
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.plan import plan
from wsol_deploy.batch.sources import Item, Sources
from wsol_deploy.batch.watch import Settled
from wsol_deploy.batch.writers import Writers, choose, impossible
from wsol_deploy.card import OUTPUTS, SizePolicy
from wsol_deploy.errors import UsageError
from wsol_deploy.runtime import Predictor, load

AnySources = Sources | CloudSources
WATCH_SECONDS = 1.0
TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        images: done, in this run and before.
        new: done in this run and not before, or changed since.
        failed: images that failed in this run.
        to_review: images done whose trust is low; None if no table was asked for.
        interrupted: it was stopped before the end.
    """

    images: int
    new: int
    failed: int
    to_review: int | None
    interrupted: bool


def open_model(
    model: Path,
    options: Options,
    output: Output,
    *,
    device: str = "auto",
    threads: int | None = None,
    trust: bool = False,
    sources: AnySources | None = None,
) -> Predictor:
    """Open a model for just the outputs that the options' writers use.

    Args:
        model, device, trust: see `load`.
        options, output: see `run`.
        threads: CPU threads of one batch; None to share the cores out.
        sources: the images if they are known: one alone gets all the threads.

    Raises:
        UsageError: a writer needs what the model has not.
    """
    card = read_card(model)
    known = card.outputs or OUTPUTS
    needed = choose(options, Path(output)).outputs
    for name, reason in impossible(card).items():
        if name in options.save:
            raise UsageError(f"{model}: {reason}")
    wanted = [name for name in needed if name in known]
    if card.mask_rule is not None and "class_maps" in known:
        wanted.append("class_maps")  # images in tiles need them, and they are there anyway
    threads = threads or pools.streams_and_threads(_passes(sources, card.input.size, options))[1]
    return load(model, outputs=wanted, device=device, threads=threads, trust=trust)


def run(
    predictor: Predictor,
    sources: AnySources,
    output: Output,
    options: Options,
    *,
    overwrite: bool = False,
    watch: bool = False,
    stop: threading.Event | None = None,
    notice: Callable[[Entry], None] = lambda entry: None,
) -> Summary:
    """`run_on` this machine, with a predictor opened by `open_model` with the same options."""
    return run_on(
        LocalEngine(predictor),
        sources,
        output,
        options,
        overwrite=overwrite,
        watch=watch,
        stop=stop,
        notice=notice,
    )


def run_on(
    engine: Engine,
    sources: AnySources,
    output: Output,
    options: Options,
    *,
    overwrite: bool = False,
    watch: bool = False,
    stop: threading.Event | None = None,
    notice: Callable[[Entry], None] = lambda entry: None,
) -> Summary:
    """Predict what is not done yet and write it; go on where an earlier run was killed.

    Args:
        engine: what runs the model.
        sources: the images.
        output: the folder to write, or its URL.
        options: what to write.
        overwrite: forget what is done.
        watch: keep going as files arrive, until `stop`.
        stop: when set, what is in flight is finished and nothing new is begun.
        notice: called with every image's journal entry.

    Raises:
        DataError: there is no image.
        WsolError: the folder belongs to another run, another run is writing to it, or its URL
            cannot be written.
        OSError: the output cannot be written.
    """
    stop = stop or threading.Event()
    writers = choose(options, Path(output))
    if not watch:
        sources.at_least(1)
    settings = _settings(engine, sources, options)
    with opened(output, settings, overwrite) as (folder, journal):
        if overwrite:
            report.remove_all(folder)
        folder.remove(report.MANIFEST)
        job = _Job(engine, options, writers, folder, journal, settings, stop, notice)
        if watch:
            job.keep_going(sources)
        else:
            job.go_through(sources)
        counts = job.conclude(complete=not stop.is_set())
    return Summary(
        images=counts.images,
        new=journal.new,
        failed=counts.failed,
        to_review=counts.to_review,
        interrupted=stop.is_set(),
    )


@dataclass(frozen=True)
class _Job:
    """One run on an open journal and folder."""

    engine: Engine
    options: Options
    writers: Writers
    folder: Folder
    journal: Journal
    settings: dict[str, Any]
    stop: threading.Event
    notice: Callable[[Entry], None]

    def is_done(self, item: Item) -> bool:
        """Whether the journal has the image as it is now, and its files are there."""
        files = self.journal.files(item.name, item.version)
        return files is not None and self.folder.has(files)

    def go_through(self, items: Iterable[Item]) -> int:
        """Predict and write what is not done; how many images that were."""
        policy = self.engine.card.input.size
        batches = plan(items, self.settings["batch_size"], policy, self.is_done)
        going = takewhile(lambda batch: not self.stop.is_set(), batches)
        count = 0
        for entry in self.engine.run(going, self.options, self.folder, self.stop):
            self._clear(entry)
            self.journal.add(entry)
            self.notice(entry)
            count += 1
        return count

    def _clear(self, entry: Entry) -> None:
        """Remove what was written for an image before and is not written for it now."""
        before = self.journal.files(entry["image"]) or ()
        for name in {*before}.difference(entry.get("files", ())):
            self.folder.remove(name)

    def keep_going(self, sources: AnySources) -> None:
        """Go through what arrives again and again; write the tables when it is quiet."""
        settled = Settled(sources, self.is_done)
        pending = False
        while not self.stop.is_set():
            if self.go_through(settled):
                pending = True
            elif pending:
                self.conclude(complete=False)
                pending = False
            self._rest()

    def _rest(self) -> None:
        """Until the next look; not by waiting for the event, whose lock a signal handler takes."""
        end = time.monotonic() + WATCH_SECONDS
        while not self.stop.is_set() and time.monotonic() < end:
            time.sleep(TICK_SECONDS)

    def conclude(self, complete: bool) -> report.Counts:
        """Write the tables and the manifest; see `report.write_all`."""
        return report.write_all(
            self.journal, self.writers, self.folder, self.engine.card, self.settings, complete
        )


def _passes(sources: AnySources | None, policy: SizePolicy, options: Options) -> int:
    """How often the graph will run, counted up to two."""
    first = list(islice(sources, 2)) if sources is not None else []
    near = len(first) == 1 and first[0].url is None
    alone = near and not is_large(first[0].path, policy, options)
    return 1 if alone else 2


def _settings(engine: Engine, sources: AnySources, options: Options) -> dict[str, Any]:
    """What must be the same for two runs to write the same bytes."""
    threshold = engine.card.threshold.value
    with engine.path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "model": sha256,
        "source": str(sources.base),
        "device": engine.device.partition(":")[0],
        **options.record(),
        "threshold": threshold if options.threshold is None else options.threshold,
        "batch_size": options.batch_size or engine.batch_size,
    }
