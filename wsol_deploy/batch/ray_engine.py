"""A cluster, by Ray Data: each actor runs the same stages with a session of its own.

An actor writes into a folder of its own, with the very writers of this machine; what is in it is
carried to the output, and the journal stays here. So the machines of a cluster need to see the
images, but neither the model file nor the output. An output at a URL is written by the actors
themselves, and only the journal from here.
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy import machine
from wsol_deploy.artifacts import read_card
from wsol_deploy.batch import pools
from wsol_deploy.batch.cloud_folder import CloudFolder
from wsol_deploy.batch.engines import Entry
from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.sources import Item
from wsol_deploy.errors import MissingExtra, UsageError, WsolError
from wsol_deploy.runtime.predictor import batch_size

BATCHES_AT_ONCE = 16
SHARES = 4
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
Block = dict[str, np.ndarray]


@dataclass(frozen=True)
class Work:
    """What every actor is told.

    Attributes:
        model: the model file's content.
        name: its name.
        device: `cpu` or `cuda`.
        threads: CPU threads of one batch.
        trust: see `load`.
        options: of the run.
        root: the output folder, which writers may name in what they write.
        url: of the output, if it is not on the machine that gave the command.
    """

    model: bytes
    name: str
    device: str
    threads: int
    trust: bool
    options: Options
    root: Path
    url: str | None


class RayEngine:
    """A Ray cluster.

    Args:
        model: the model file.
        address: of the cluster; None for one that is started on this machine.
        workers: actors; None for one a GPU, or one a machine without any.
        device: auto, cpu or cuda.
        threads: CPU threads of one batch; None to share an actor's cores out.
        trust: see `load`.

    Raises:
        MissingExtra: ray is not installed.
        WsolError: the cluster cannot be reached, or lacks the GPU asked for.
    """

    def __init__(
        self,
        model: Path,
        *,
        address: str | None = None,
        workers: int | None = None,
        device: str = "auto",
        threads: int | None = None,
        trust: bool = False,
    ) -> None:
        self.path = model
        self.card = read_card(model)
        cores, gpus = _connect(address, workers)
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {device}: --engine ray takes auto, cpu or cuda")
        if device == "cuda" and not gpus:
            raise WsolError("--device cuda: the cluster has no GPU")
        self.device = "cuda" if gpus and device != "cpu" else "cpu"
        self.batch_size = batch_size(self.card, self.device)
        most = gpus if self.device == "cuda" else sum(cores)
        self._workers = min(workers or (gpus if self.device == "cuda" else len(cores)), most)
        self._cores = max(1, sum(cores) // self._workers if workers else min(cores))
        self._threads = threads or max(1, self._cores // pools.CPU_STREAMS)
        self._trust = trust

    def run(
        self,
        batches: Iterable[list[Item]],
        options: Options,
        folder: Folder,
        stop: threading.Event,
    ) -> Iterator[Entry]:
        import ray

        rows = [{"batch": pickle.dumps(batch)} for batch in batches]
        if not rows:
            return
        share = max(1, min(BATCHES_AT_ONCE, len(rows) // (SHARES * self._workers)))
        blocks = -(-len(rows) // share)
        work = Work(
            self.path.read_bytes(),
            self.path.name,
            self.device,
            self._threads,
            self._trust,
            options,
            folder.root.absolute(),
            folder.url,
        )
        results = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            Actor,
            fn_constructor_args=(work,),
            batch_size=None,
            batch_format="numpy",
            concurrency=min(self._workers, blocks),
            num_cpus=0 if self.device == "cuda" else self._cores,
            num_gpus=1 if self.device == "cuda" else 0,
        )
        try:
            for row in results.iter_rows():
                entry, files = pickle.loads(row["result"])
                for name, content in files:
                    folder.write(name, content)
                yield entry
                if stop.is_set():
                    return
        except ray.exceptions.RayError as error:
            raise WsolError(f"the cluster failed: {_first_line(error)}") from error


class Actor:
    """One session, one folder, the stages of one machine."""

    def __init__(self, work: Work) -> None:
        from wsol_deploy.batch.run import open_model

        self._work = work
        self._place = tempfile.TemporaryDirectory(prefix="wsol-ray-")
        model = Path(self._place.name) / work.name
        model.write_bytes(work.model)
        self._predictor = open_model(
            model,
            work.options,
            work.root,
            device=work.device,
            threads=work.threads,
            trust=work.trust,
        )

    def __call__(self, block: Block) -> Iterator[Block]:
        from wsol_deploy.batch.engines import LocalEngine

        batches = (pickle.loads(batch) for batch in block["batch"])
        with self._folder() as folder:
            engine = LocalEngine(self._predictor, self._work.root)
            for entry in engine.run(batches, self._work.options, folder, threading.Event()):
                names = entry.get("files", ()) if folder.url is None else ()
                files = [(name, _taken(folder.root / name)) for name in names]
                yield {"result": np.array([pickle.dumps((entry, files))], dtype=object)}

    def _folder(self) -> Folder:
        if self._work.url is not None:
            return CloudFolder(self._work.url, alone=False)
        return Folder(Path(self._place.name) / "out")


def _connect(address: str | None, workers: int | None) -> tuple[list[int], int]:
    """Join or start a cluster; the CPUs of each machine that has any, and all GPUs."""
    os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("--engine ray", "ray") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    here: dict[str, Any] = {} if address else {"num_cpus": max(workers or 1, machine.cores())}
    try:
        ray.init(
            address=address or "local",
            ignore_reinit_error=True,
            include_dashboard=False if not address else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **here,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise WsolError(f"--address {address}: no Ray cluster ({_first_line(error)})") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(found["CPU"]) for found in resources if found.get("CPU")]
    return cores, sum(int(found.get("GPU", 0)) for found in resources)


def _taken(path: Path) -> bytes | Path:
    """A file's content, or where a link leads; it is gone then."""
    content = path.readlink() if path.is_symlink() else path.read_bytes()
    path.unlink()
    return content


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
