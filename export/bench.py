"""Measure model files side by side: each beside eager PyTorch, the two taking turns."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsol_deploy import runs
from wsol_deploy.artifacts import format_of, read_card
from wsol_deploy.errors import ArtifactError, WsolError
from wsol_deploy.export.bench_worker import Job, Worker
from wsol_deploy.runtime import devices

logger = logging.getLogger(__name__)
ROUNDS = 5
MOST_IMAGES = 32
WORTH_IT = 1.03
GRAPHS = (".onnx", ".torchscript", ".pt2")
FORMAT_TITLES = {
    "onnx": "ONNX Runtime",
    "torchscript": "TorchScript",
    "pt2": "torch.export",
    "safetensors": "eager PyTorch",
}
OUTPUTS: dict[str, tuple[str, ...] | None] = {"all": None, "mask": ("mask",)}


@dataclass(slots=True)
class Row:
    """One file on one device, for some outputs.

    Attributes:
        file, format, precision, device: what and where.
        outputs: "mask", or "all".
        load_s: seconds to open it.
        latency_ms, p95_ms: of one image, median and 95th percentile.
        images_per_s, batch: at the best batch size, and that size.
        memory_mb: peak of the process, libraries included.
        size_mb: of the file.
        metrics: error, f1_plus, f1_minus in [0, 1], where there is a truth.
        speedup: median over the rounds of eager PyTorch's latency over this one's.
    """

    file: str
    format: str
    precision: str
    device: str
    outputs: str
    load_s: float
    latency_ms: float
    p95_ms: float
    images_per_s: float
    batch: int
    memory_mb: float
    size_mb: float
    metrics: dict[str, float] = field(default_factory=dict)
    speedup: float | None = None


@dataclass(slots=True)
class Benchmark:
    """What was measured, and on what."""

    data: str
    baseline: str | None
    rows: list[Row]
    skipped: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Attributes:
        data: folder of images, or None for the model's own test images.
        threads: of one operator on the CPU, or None for one a core.
        seconds: that each measurement takes at least.
        trust: open files that can run code.
    """

    data: Path | None = None
    threads: int | None = None
    seconds: float = 1.0
    trust: bool = False

    def job(self, path: Path, device: str, outputs: str) -> Job:
        """What a worker opens."""
        return Job(path, device, OUTPUTS[outputs], self.threads, self.data, self.trust)


def model_files(models: Sequence[str]) -> list[Path]:
    """The files that names mean: a run is its checkpoint and everything exported from it.

    Raises:
        ArtifactError: nothing of that name.
    """
    found: list[Path] = []
    wanted: Sequence[str | None] = models or [None]
    for model in wanted:
        first = runs.resolve(model, want="checkpoint")
        found.append(first)
        if model is None or not Path(model).is_file():
            exported = sorted((first.parent / runs.EXPORT_FOLDER).glob("model.*"))
            found += [path for path in exported if path.suffix in GRAPHS]
    return list(dict.fromkeys(found))


def baseline_of(files: Sequence[Path]) -> Path | None:
    """The checkpoint that PyTorch runs for the ratios: one named, or the one exported from."""
    named = [path for path in files if format_of(path) == "safetensors"]
    beside = [path.parent.parent / runs.BEST for path in files]
    for path in [*named, *beside]:
        if path.is_file():
            with contextlib.suppress(ArtifactError):
                digest = read_card(path).weights_sha256
                if all(read_card(other).weights_sha256 == digest for other in files):
                    return path
    return None


def benchmark(
    files: Sequence[Path], asked: Sequence[str] = (), settings: Settings | None = None
) -> Benchmark:
    """Measure files.

    Args:
        files: models.
        asked: devices; none for every one there is. A device asked for must work.
        settings: how.

    Raises:
        DeviceError: a device asked for cannot be used.
        ArtifactError: a file cannot be used.
    """
    settings = settings or Settings()
    for path in files:
        format_of(path)
    chosen = [devices.resolve(name, tensorrt=True) for name in asked]
    chosen = chosen or ["cpu", *(f"cuda:{at}" for at in range(min(1, devices.gpus())))]
    base = baseline_of(files)
    result = Benchmark("", str(base) if base else None, [], [])
    for device in dict.fromkeys(chosen):
        for outputs in OUTPUTS:
            eagerly = device.replace("tensorrt", "cuda")
            with _baseline(base, eagerly, outputs, settings) as eager:
                for path in _runnable(files, device):
                    try:
                        _measure(result, path, device, outputs, settings, eager)
                    except WsolError as error:
                        if asked:
                            raise
                        result.skipped.append(f"{path} on {device}: {error}")
    if not result.rows:
        raise WsolError(result.skipped[0])
    return result


def _runnable(files: Sequence[Path], device: str) -> list[Path]:
    """The files that a device can run: TensorRT runs ONNX alone."""
    tensorrt = device.startswith("tensorrt")
    return [path for path in files if not tensorrt or format_of(path) == "onnx"]


@contextlib.contextmanager
def _baseline(
    path: Path | None, device: str, outputs: str, settings: Settings
) -> Iterator[Worker | None]:
    if path is None:
        yield None
        return
    with Worker(settings.job(path, device, outputs)) as worker:
        try:
            worker.ask("open")
        except WsolError as error:
            logger.warning("no ratios on %s: %s", device, error)
            yield None
            return
        yield worker


def _measure(
    result: Benchmark,
    path: Path,
    device: str,
    outputs: str,
    settings: Settings,
    eager: Worker | None,
) -> None:
    card = read_card(path)
    if outputs == "all" and set(card.outputs or ("mask", "probs")) == {"mask"}:
        return
    logger.info("%s on %s, %s", path, device, "mask alone" if outputs == "mask" else "all outputs")
    with Worker(settings.job(path, device, outputs)) as worker:
        opened = worker.ask("open")
        latencies, ratios = _take_turns(worker, eager, settings.seconds / ROUNDS)
        speed, batch = _best_batch(worker, settings.seconds / 2)
        row = Row(
            file=str(path),
            format=FORMAT_TITLES[format_of(path)],
            precision=card.precision,
            device=opened["device"],
            outputs=outputs,
            load_s=opened["load_s"],
            latency_ms=1e3 * float(np.median(latencies)),
            p95_ms=1e3 * float(np.percentile(latencies, 95)),
            images_per_s=speed,
            batch=batch,
            memory_mb=worker.ask("memory") / 1e6,
            size_mb=path.stat().st_size / 1e6,
            metrics=_metrics(result.rows, path, opened["device"]) or worker.ask("metrics"),
            speedup=float(np.median(ratios)) if ratios else None,
        )
    result.data = opened["data"]
    result.rows.append(row)


def _metrics(rows: Sequence[Row], path: Path, device: str) -> dict[str, float]:
    """The masks' metrics, where they were measured with all outputs already."""
    for row in rows:
        if (row.file, row.device) == (str(path), device):
            return {name: value for name, value in row.metrics.items() if name != "error"}
    return {}


def _take_turns(
    worker: Worker, eager: Worker | None, seconds: float
) -> tuple[list[float], list[float]]:
    """All latencies, and eager's median over this one's in each round."""
    latencies: list[float] = []
    ratios: list[float] = []
    for _ in range(ROUNDS):
        base = eager.ask("latency", seconds) if eager else None
        own = worker.ask("latency", seconds)
        latencies += own
        if base:
            ratios.append(float(np.median(base) / np.median(own)))
    return latencies, ratios


def _best_batch(worker: Worker, seconds: float) -> tuple[float, int]:
    """Images a second at the batch size beyond which it grows no more."""
    best, size = worker.ask("throughput", 1, seconds), 1
    while size < MOST_IMAGES:
        try:
            faster = worker.ask("throughput", 2 * size, seconds)
        except WsolError:
            break
        if faster < WORTH_IT * best:
            break
        best, size = faster, 2 * size
    return best, size
