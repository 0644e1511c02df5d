"""Run the real `wsol demo` for tests, with the small artifact and pictures of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

STARTS_WITHIN = 90


@dataclass(frozen=True)
class Page:
    """A demo that runs: its address, its process, and its temporary folder's parent."""

    url: str
    process: subprocess.Popen
    temporary: Path


def wsol() -> list[str]:
    """The command line's entry point."""
    return [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]


@contextmanager
def serving(*arguments: str, temporary: Path, **environment: str) -> Iterator[Page]:
    """`wsol demo` on a free port, ended with SIGTERM."""
    temporary.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = temporary.parent / f"{temporary.name}.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*wsol(), "demo", *arguments, "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http"), log.read_text()
            yield Page(url, process, temporary)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def predict(pictures: Path, output: Path, model: Path, threshold: float) -> Path:
    """What `wsol predict` writes for a folder: mask, geojson and jsonl."""
    command = [*wsol(), "predict", str(pictures), "-o", str(output), "-m", str(model)]
    command += ["--threshold", str(threshold), "--device", "cpu"]
    for name in ("mask", "geojson", "jsonl"):
        command += ["--save", name]
    subprocess.run(command, check=True, capture_output=True)
    return output


def blobs(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8, H x W x 3, RGB: dark red discs on pale noise; the artifact's foreground."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(200, 240, (height, width, 3), dtype=np.uint8)
    for _ in range(5):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        radius = int(rng.integers(min(height, width) // 12 + 2, min(height, width) // 5 + 4))
        cv2.circle(picture, centre, radius, (150, 30, 50), -1)
    return picture


def save(path: Path, picture: np.ndarray) -> Path:
    """Write RGB pixels in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return path


def chromium() -> str | None:
    """A Chromium that is installed, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)
