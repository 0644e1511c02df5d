"""One run of the batch command: plan, engine, journal, tables."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from wsol_deploy.artifacts import read_card
from wsol_deploy.batch import engine, report
from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.journal import NAME, Journal
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.plan import plan
from wsol_deploy.batch.sources import Item, Sources
from wsol_deploy.batch.stages import Stages
from wsol_deploy.batch.watch import Settled
from wsol_deploy.batch.writers import choose
from wsol_deploy.card import OUTPUTS
from wsol_deploy.runtime import Predictor, load

WATCH_SECONDS = 1.0
Entry = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        images: done, in this run and before.
        new: done in this run.
        failed: images that failed in this run.
        interrupted: it was stopped before the end.
    """

    images: int
    new: int
    failed: int
    interrupted: bool


def open_model(
    model: Path,
    options: Options,
    output: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    trust: bool = False,
    images: int = 2,
) -> Predictor:
    """Open a model for just the outputs that the options' writers use.

    Args:
        model, device, trust: see `load`.
        options, output: see `run`.
        threads: CPU threads of one batch; None to share the cores out.
        images: how many there will be; more than one makes no difference.
    """
    known = read_card(model).outputs or OUTPUTS
    wanted = [name for name in choose(options, output).outputs if name in known]
    threads = threads or engine.streams_and_threads(images)[1]
    return load(model, outputs=wanted, device=device, threads=threads, trust=trust)


def run(
    predictor: Predictor,
    sources: Sources,
    output: Path,
    options: Options,
    *,
    overwrite: bool = False,
    watch: bool = False,
    stop: threading.Event | None = None,
    notice: Callable[[Entry], None] = lambda entry: None,
) -> Summary:
    """Predict what is not done yet and write it; go on where an earlier run was killed.

    Args:
        predictor: opened by `open_model` with the same options.
        sources: the images.
        output: the folder to write.
        options: what to write.
        overwrite: forget what is done.
        watch: keep going as files arrive, until `stop`.
        stop: when set, what is in flight is finished and nothing new is begun.
        notice: called with every image's journal entry.

    Raises:
        DataError: there is no image.
        WsolError: the folder belongs to another run, or another run is writing to it.
        OSError: the output cannot be written.
    """
    stop = stop or threading.Event()
    writers = choose(options, output)
    if not watch:
        sources.at_least(1)
    output.mkdir(parents=True, exist_ok=True)
    batch_size = options.batch_size or predictor.batch_size
    streams = engine.CPU_STREAMS if predictor.device == "cpu" else 1
    workers = engine.default_workers(predictor.device)
    settings = _settings(predictor, sources, options, batch_size)
    with Journal(output / NAME, settings, overwrite) as journal:
        folder = Folder(output)
        if overwrite:
            report.remove_all(folder)
        stages = Stages(predictor, options, writers, folder)

        def is_done(name: str) -> bool:
            return name in journal and folder.has(journal.files(name))

        def go_through(items: Iterable[Item]) -> int:
            batches = plan(items, batch_size, predictor.card.input.size, is_done)
            going = takewhile(lambda batch: not stop.is_set(), batches)
            count = 0
            for entry in engine.run(stages, going, streams, workers):
                journal.add(entry)
                notice(entry)
                count += 1
            return count

        def conclude(complete: bool) -> None:
            report.write_all(journal, writers, folder, predictor.card, settings, complete)

        before = len(journal)
        try:
            if watch:
                settled = Settled(sources, is_done)
                _keep_going(lambda: go_through(settled), lambda: conclude(False), stop)
            else:
                go_through(sources)
            conclude(complete=not stop.is_set())
        finally:
            folder.clear_aside()
        return Summary(len(journal), len(journal) - before, journal.failures, stop.is_set())


def _keep_going(
    go_through: Callable[[], int], conclude: Callable[[], None], stop: threading.Event
) -> None:
    """Go through the folder again and again; bring the tables up to date when it is quiet."""
    pending = False
    while not stop.is_set():
        if go_through():
            pending = True
        elif pending:
            conclude()
            pending = False
        stop.wait(WATCH_SECONDS)


def _settings(
    predictor: Predictor, sources: Sources, options: Options, batch_size: int
) -> dict[str, Any]:
    """What must be the same for two runs to write the same bytes."""
    threshold = predictor.card.threshold.value
    with predictor.path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "model": sha256,
        "source": str(sources.base),
        "device": predictor.device.partition(":")[0],
        **options.record(),
        "threshold": threshold if options.threshold is None else options.threshold,
        "batch_size": batch_size,
    }
