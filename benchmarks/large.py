"""Very large images: peak memory, time against area, and whether tiles can be seen.

    python benchmarks/large.py MODEL.onnx IMAGES... --sides 5000 10000 20000

Makes a tiled BigTIFF of each side from the images given, runs `wsol predict` on it in a process of
its own, and prints its peak memory and its time, wall and processor. Of the largest it writes a
picture to look for seams, and measures them: the soft mask's mean step where tiles meet over its
mean step elsewhere. On a 2048 x 2048 piece it compares tiles with one pass.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

from wsol_deploy import images
from wsol_deploy.batch.sources import Sources
from wsol_deploy.runtime import load, render
from wsol_deploy.runtime.large import predict_large
from wsol_deploy.runtime.pyramids import ArrayPyramid
from wsol_deploy.runtime.tiles import Tiling

WSOL = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
BLOCK = 512
PREVIEW = 1250
COMPARED = 2048


def blocks(pictures: list[np.ndarray], side: int) -> Iterator[np.ndarray]:
    """The image's blocks, row by row: the pictures, each turned as its place says."""
    count = -(-side // BLOCK)
    order = np.random.default_rng(0).integers(0, len(pictures), (count, count))
    for row, column in itertools.product(range(count), repeat=2):
        picture = np.rot90(pictures[order[row, column]], (row + column) % 4)
        yield np.ascontiguousarray(picture)


def make(path: Path, pictures: list[np.ndarray], side: int) -> None:
    tifffile.imwrite(
        path,
        blocks(pictures, side),
        shape=(side, side, 3),
        dtype="uint8",
        tile=(BLOCK, BLOCK),
        bigtiff=True,
        photometric="rgb",
        compression="zlib",
        compressionargs={"level": 1},
    )


def predict(model: Path, path: Path, out: Path, save: list[str], more: list[str]) -> str:
    """Run the command; what it took."""
    words = [word for name in save for word in ("--save", name)]
    command = [*WSOL, "predict", str(path), "-o", str(out), "-m", str(model), "-q", *words, *more]
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    processor = used.ru_utime + used.ru_stime
    return f"{used.ru_maxrss / 1024:7.0f} MiB {wall:8.1f} s {processor:8.1f} s of processor"


def seams(soft: np.ndarray, tiling: Tiling) -> float:
    """Mean step across the middles of the overlaps, over the mean step everywhere."""
    steps = np.abs(np.diff(soft.astype(np.float32), axis=1)).mean(axis=0)
    meet = np.arange(tiling.tile - tiling.overlap // 2, soft.shape[1], tiling.tile - tiling.overlap)
    near = (meet[:, None] + np.arange(-tiling.overlap // 4, tiling.overlap // 4)).ravel()
    return float(steps[near[near < len(steps)]].mean() / steps.mean())


def preview(image: Path, soft: Path, target: Path) -> None:
    """The image and its soft mask side by side, each pixel the mean of what it stands for."""
    size = (PREVIEW, PREVIEW)
    pixels = cv2.resize(tifffile.imread(image), size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(tifffile.imread(soft), size, interpolation=cv2.INTER_AREA)
    drawn = render.tint(pixels, mask.astype(np.float32) / 65535, render.COLOURS)
    target.write_bytes(render.png(np.concatenate([pixels, drawn], axis=1)))


def compare(model: Path, pictures: list[np.ndarray], tiling: Tiling) -> None:
    """Tiles against one pass."""
    count = COMPARED // BLOCK
    stack = np.stack(list(blocks(pictures, COMPARED))).reshape(count, count, BLOCK, BLOCK, 3)
    image = stack.swapaxes(1, 2).reshape(COMPARED, COMPARED, 3)
    predictor = load(model)
    whole = predictor.predict(image)
    tiled = predict_large(predictor, ArrayPyramid(image), tiling=tiling)
    difference = np.abs(tiled.probability - whole.probability)
    print(
        f"{COMPARED} x {COMPARED}, tiles against one pass: soft mask differs by "
        f"{difference.mean():.2e} in the mean, {np.quantile(difference, 0.999):.2e} at the 99.9th "
        f"percentile, {difference.max():.2e} at most; {(tiled.mask != whole.mask).mean():.4%} of "
        f"the mask's pixels; step at seams {seams(tiled.probability, tiling):.3f} of the mean "
        f"({seams(whole.probability, tiling):.3f} in one pass)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--sides", type=int, nargs="+", default=[5000, 10000, 20000])
    parser.add_argument("--save", nargs="+", default=["mask", "geojson", "csv"])
    parser.add_argument("--tile", type=int, default=Tiling().tile)
    parser.add_argument("--overlap", type=int, default=Tiling().overlap)
    parser.add_argument("--preview", type=Path, default=Path("preview.png"))
    given = parser.parse_args()
    tiling = Tiling(given.tile, given.overlap)
    paths = [item.path for item in Sources(given.images)][:64]
    pictures = [images.resize(images.read(path), BLOCK, BLOCK) for path in paths]
    more = ["--tile", str(given.tile), "--overlap", str(given.overlap), "--tile-above", "1"]
    for side in given.sides:
        last = side == given.sides[-1]
        with tempfile.TemporaryDirectory() as place:
            path, out = Path(place) / "large.tif", Path(place) / "out"
            make(path, pictures, side)
            save = [*given.save, *(["prob"] if last else [])]
            print(f"{side:6d} x {side}: {predict(given.model, path, out, save, more)}", flush=True)
            if last:
                soft = out / "probabilities/large.tif.tif"
                preview(path, soft, given.preview)
                print(f"step at seams {seams(tifffile.imread(soft), tiling):.3f} of the mean")
    # Last: a child's peak counts that of the process it is forked from.
    compare(given.model, pictures, tiling)


if __name__ == "__main__":
    main()
