"""Throughput of `wsol predict` beside a bare ONNX Runtime session, memory, and the first mask.

    python benchmarks/predict.py throughput MODEL.onnx IMAGES... --count 500
    python benchmarks/predict.py memory MODEL.onnx IMAGES... --counts 100 1000 10000
    python benchmarks/predict.py start MODEL.onnx IMAGE

The ways of `throughput` take turns on the same images, round by round, so that whatever else the
machine does meets all of them; the ratios are medians over the rounds. Images are repeated under
other names where there are fewer than asked for. `bare session` has ONNX Runtime's defaults;
`bare streams` is the session of `wsol predict`, as many batches side by side, on ready arrays: what
it would reach if reading and writing cost nothing. The last line is what each step costs one core.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

from wsol_deploy import images
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.pools import CPU_STREAMS
from wsol_deploy.batch.run import open_model, run
from wsol_deploy.batch.sources import Sources
from wsol_deploy.runtime import Predictor, load, render
from wsol_deploy.runtime.onnx_outputs import keep_outputs

ROUND = 50
WSOL = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]


def repeated(paths: list[Path], count: int, folder: Path) -> list[Path]:
    """`count` images as links in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    for number, path in zip(range(count), itertools.cycle(paths), strict=False):
        link = folder / f"{number:06d}{path.suffix}"
        link.symlink_to(path.resolve())
        links.append(link)
    return links


def bare_session(model: Path, predictor: Predictor) -> onnxruntime.InferenceSession:
    """ONNX Runtime with its defaults, on the same outputs and the same device."""
    content = keep_outputs(model.read_bytes(), predictor.outputs)
    on_gpu = predictor.device != "cpu"
    providers = ["CUDAExecutionProvider"] if on_gpu else ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(content, providers=providers)


def batches(arrays: list[np.ndarray], size: int) -> list[np.ndarray]:
    """Arrays of equal shape stacked, at most `size` together."""
    groups: dict[tuple[int, ...], list[np.ndarray]] = {}
    for array in arrays:
        groups.setdefault(array.shape, []).append(array)
    return [
        np.stack(group[start : start + size])
        for group in groups.values()
        for start in range(0, len(group), size)
    ]


def in_streams(predictor: Predictor, loaded: list[np.ndarray]) -> None:
    """The session of `wsol predict` on arrays alone."""
    with ThreadPoolExecutor(CPU_STREAMS if predictor.device == "cpu" else 1) as pool:
        list(pool.map(predictor.run, loaded))


def plain_loop(predictor: Predictor, paths: list[Path], output: Path) -> None:
    """What a user would write: read, predict, write, one after the other."""
    output.mkdir(parents=True)
    for path in paths:
        mask = predictor.predict(path).mask
        cv2.imwrite(str(output / f"{path.name}.png"), mask.astype(np.uint8) * 255)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and the processors' time."""
    wall, processors = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processors


def steps(model: Path, paths: list[Path], device: str) -> dict[str, float]:
    """Milliseconds of one core for each step of a mask's way, medians over the images."""
    predictor = load(model, device=device, outputs=("mask",), threads=1)
    spent: dict[str, list[float]] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = work()
        spent.setdefault(step, []).append(1000 * (time.process_time() - start))
        return result

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    for path in paths:
        image = timed("read", partial(images.read, path))
        pixels = timed("fit", partial(predictor.prepare, image))
        outputs = timed("session", partial(predictor.run, pixels[None]))
        own = {name: values[0] for name, values in outputs.items()}
        found = timed("mask", partial(predictor.finish, own, image.shape[:2]))
        timed("encode", lambda found=found: render.png(render.mask_pixels(found.mask)))
    cv2.setNumThreads(threads)
    return {step: statistics.median(times) for step, times in spent.items()}


def throughput(model: Path, paths: list[Path], count: int, save: list[str], device: str) -> None:
    options = Options(save=tuple(save))
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        predictor = open_model(model, options, root, device=device)
        session = bare_session(model, predictor)
        plain = load(model, device=device, outputs=predictor.outputs)
        names = list(predictor.outputs)
        times: dict[str, list[tuple[float, float]]] = {
            "bare session": [],
            "bare streams": [],
            "wsol predict": [],
            "plain loop": [],
        }
        for number in range(max(1, count // ROUND)):
            folder = root / "in" / str(number)
            chosen = paths[number * ROUND :] + paths[: number * ROUND]
            links = repeated(chosen or paths, min(ROUND, count), folder)
            arrays = [predictor.prepare(images.read(link)) for link in links]
            loaded = batches(arrays, predictor.batch_size)
            if number == 0:
                session.run(names, {"image": loaded[0]})
                predictor.run(loaded[0])
            ways: dict[str, Callable[[], object]] = {
                "bare session": lambda loaded=loaded: [
                    session.run(names, {"image": batch}) for batch in loaded
                ],
                "bare streams": partial(in_streams, predictor, loaded),
                "wsol predict": lambda folder=folder, number=number: run(
                    predictor, Sources([folder]), root / f"out{number}", options
                ),
                "plain loop": lambda links=links, number=number: plain_loop(
                    plain, links, root / f"loop{number}"
                ),
            }
            order = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
            for name in order:
                times[name].append(seconds(ways[name]))
            done = {name: f"{len(links) / spent[-1][0]:.2f}" for name, spent in times.items()}
            print(f"round {number}: images/s {done}", file=sys.stderr)
        print(f"{model.name}, {predictor.device}, save {save}, {len(times['wsol predict'])} rounds")
        for name, spent in times.items():
            pairs = list(zip(times["bare session"], spent, strict=True))
            share = statistics.median(bare[0] / own[0] for bare, own in pairs)
            rate = len(links) / statistics.median(wall for wall, _ in spent)
            effort = statistics.median(processors for _, processors in spent) / len(links)
            print(
                f"{name:14s} {rate:8.2f} images/s {share:6.3f} of the bare session"
                f" {effort * 1000:7.1f} ms of processor an image"
            )
        parts = steps(model, paths[:ROUND], device)
        told = ", ".join(f"{step} {value:.2f}" for step, value in parts.items())
        share = parts["session"] / sum(parts.values())
        print(f"ms of one core an image, masks alone: {told}; the session's share {share:.3f}")


def memory(model: Path, paths: list[Path], counts: list[int], device: str) -> None:
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            repeated(paths, count, Path(place) / "in")
            command = [*WSOL, "predict", f"{place}/in", "-o", f"{place}/out", "-q"]
            subprocess.run([*command, "-m", str(model), "--device", device], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{count:7d} images: at most {peak:7.0f} MiB", flush=True)


def start(model: Path, image: Path, device: str) -> None:
    spent = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as place:
            command = [*WSOL, "predict", str(image), "-o", place, "-q", "-m", str(model)]
            command += ["--device", device, "--save", "mask"]
            spent.append(seconds(lambda command=command: subprocess.run(command, check=True))[0])
    print("first mask after " + ", ".join(f"{value:.2f}" for value in spent) + " s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("throughput", "memory", "start"))
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--save", nargs="+", default=["mask", "jsonl"])
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    paths = [item.path for item in Sources(given.images)]
    if given.what == "throughput":
        throughput(given.model, paths, given.count, given.save, given.device)
    elif given.what == "memory":
        memory(given.model, paths, given.counts, given.device)
    else:
        start(given.model, paths[0], given.device)


if __name__ == "__main__":
    main()
