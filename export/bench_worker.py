"""One model in a process of its own: what it takes there is its alone."""

from __future__ import annotations

import multiprocessing
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wsol_deploy import images, runtime
from wsol_deploy.errors import WsolError
from wsol_deploy.export import proof_data
from wsol_deploy.export.prove import measure

WARM_UP = 3
KEPT = 16
LEAST_RUNS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker opens.

    Attributes:
        path: the model file.
        device: cpu or cuda:N.
        outputs: names to compute, or None for all.
        threads: of one operator on the CPU, or None for one a core.
        data: folder of images, or None for the model's own.
        trust: open files that can run code.
    """

    path: Path
    device: str
    outputs: tuple[str, ...] | None
    threads: int | None
    data: Path | None
    trust: bool


class Worker:
    """A process that holds a model; use it as a context."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, method: str, *arguments: object) -> Any:
        """Call a method of the worker's `_Model`.

        Raises:
            WsolError: what went wrong there.
        """
        try:
            self._pipe.send((method, arguments))
            kind, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise WsolError("the process that measures ended; was the memory enough?") from error
        if kind == "error":
            raise answer
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()


def _serve(job: Job, pipe: Connection) -> None:
    model = _Model(job)
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            pipe.send(("answer", getattr(model, method)(*arguments)))
        except WsolError as error:
            pipe.send(("error", type(error)(*error.args) if error.args else error))
        except Exception as error:
            reason = str(error).partition("\n")[0]
            pipe.send(("error", WsolError(f"{job.path}: {type(error).__name__}: {reason}")))


class _Model:
    def __init__(self, job: Job) -> None:
        self.job = job

    def open(self) -> dict[str, Any]:
        """Load the file and warm it up; seconds of the loading, and where it really runs."""
        job = self.job
        start = time.perf_counter()
        self.predictor = runtime.load(
            job.path, device=job.device, outputs=job.outputs, trust=job.trust, threads=job.threads
        )
        loaded = time.perf_counter() - start
        self.data = proof_data.held_out(self.predictor.card, job.path, job.data)
        self.batches = [
            self.predictor.prepare(picture.read())[None] for picture in self.data.pictures[:KEPT]
        ]
        for at in range(WARM_UP):
            self.predictor.run(self.batches[at % len(self.batches)])
        return {"load_s": loaded, "device": self.predictor.device, "data": self.data.name}

    def latency(self, seconds: float) -> list[float]:
        """Seconds of each single-image run, the images taking turns."""
        taken: list[float] = []
        stop = time.perf_counter() + seconds
        while len(taken) < LEAST_RUNS or time.perf_counter() < stop:
            batch = self.batches[len(taken) % len(self.batches)]
            start = time.perf_counter()
            self.predictor.run(batch)
            taken.append(time.perf_counter() - start)
        return taken

    def throughput(self, size: int, seconds: float) -> float:
        """Images a second in batches of one size, all resized to the first image's size."""
        height, width = self.batches[0].shape[1:3]
        chosen = [self.batches[at % len(self.batches)][0] for at in range(size)]
        batch = np.stack([images.resize(image, height, width) for image in chosen])
        self.predictor.run(batch)
        start = time.perf_counter()
        runs = 0
        while runs < 2 or time.perf_counter() < start + seconds:
            self.predictor.run(batch)
            runs += 1
        return size * runs / (time.perf_counter() - start)

    def metrics(self) -> dict[str, float]:
        """Error, F1+ and F1- on the images, those for which there is a truth."""
        return measure(self.predictor, self.data)

    def memory(self) -> int:
        """Peak bytes of this process's memory."""
        status = Path("/proc/self/status")
        if status.exists():
            line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
