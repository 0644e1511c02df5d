"""Small pictures, the command here or in a process of its own, and a folder as a dictionary."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from wsol_deploy.batch.options import Options
from wsol_deploy.batch.run import open_model, run
from wsol_deploy.batch.sources import Sources

COMMAND = [sys.executable, "-c", "from wsol_deploy.cli import main; main()", "predict"]
DIFFERS = ("journal.jsonl", "timings.csv")


def draw(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8, H x W x 3: dark ellipses on a bright ground, red or blue."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = np.full((height, width, 3), 230, np.uint8)
    colour = (150, 60, 60) if seed % 2 else (60, 60, 150)
    for _ in range(rng.integers(1, 5)):
        y, x = rng.integers(0, height), rng.integers(0, width)
        radius = rng.integers(4, max(5, height // 3), 2)
        inside = ((rows - y) / radius[0]) ** 2 + ((columns - x) / radius[1]) ** 2 < 1
        image[inside] = colour
    return image


def fill(folder: Path, count: int, suffix: str = ".png", **size: int) -> list[Path]:
    """`count` pictures in a folder, some of them in subfolders."""
    paths = []
    for number in range(count):
        place = folder / ("sub" if number % 3 == 0 else ".") / f"{number:04d}{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(number, **size)).save(place)
        paths.append(place)
    return paths


def predict(*arguments: object, check: int | None = 0, **options) -> subprocess.CompletedProcess:
    """Run `wsol predict`; `check` is the exit code it must have."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=300, **options)
    if check is not None:
        assert done.returncode == check, done.stderr.decode()
    return done


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path, without those that may differ from run to run."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in DIFFERS
    }


def go(model: Path, source, output: Path, options: Options = Options(), **how):
    """`wsol predict` on the CPU, in this process."""
    predictor = open_model(model, options, output, device="cpu")
    sources = [source] if isinstance(source, Path) else source
    return run(predictor, Sources(sources, output), output, options, **how)
