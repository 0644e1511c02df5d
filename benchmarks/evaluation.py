"""How long evaluation takes after inference, and what memory it holds.

    python benchmarks/evaluation.py [GLAS_FOLDER]

The 80 test maps of GlaS where the data set is at hand (default: ../shared/data/glas), and as many
synthetic ones of 775 x 522 pixels otherwise; the predictions are noise added to the truth.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from wsol_deploy.datasets import open_dataset
from wsol_deploy.datasets.base import Sample
from wsol_deploy.evaluation import Prediction, calibrate, evaluate

CLASSES = ("benign", "malignant")
COPIES = 1000
LIMIT_SECONDS = 5.0


def glas(root: Path) -> list[Sample]:
    """The published test images."""
    return list(open_dataset(root, split="paper").subset("test").samples)


def synthetic(root: Path, count: int = 80) -> list[Sample]:
    """Blobs of the same size as GlaS's images."""
    random, samples = np.random.default_rng(0), []
    for number in range(count):
        noise = cv2.GaussianBlur(random.normal(size=(522, 775)).astype(np.float32), (0, 0), 30)
        path = root / f"{number}.png"
        cv2.imwrite(str(path), (noise > 0).astype(np.uint8) * 255)
        samples.append(Sample(path.name, path, number % 2, path))
    return samples


def predict(sample: Sample) -> Prediction:
    """A plausible soft mask: the truth blurred, plus smooth noise, through a sigmoid."""
    random = np.random.default_rng(len(sample.name))
    truth = sample.read_mask().astype(np.float32)
    noise = cv2.GaussianBlur(random.normal(size=truth.shape).astype(np.float32), (0, 0), 12)
    raw = cv2.GaussianBlur(truth, (0, 0), 15) + noise / np.abs(noise).max() * 0.5
    scores = 1 / (1 + np.exp(-10 * (raw - 0.5)))
    probs = random.dirichlet((2, 1)).astype(np.float32)
    return Prediction(scores.astype(np.float32), 0.5, CLASSES, probs=probs, background_probs=probs)


def repeated(
    pairs: list[tuple[Sample, Prediction]], count: int
) -> Iterator[tuple[Sample, Prediction]]:
    """The same images over and over, as a stream."""
    for number in range(count):
        yield pairs[number % len(pairs)]


def timed(samples: list[Sample], name: str) -> None:
    """Print seconds and memory for one set of maps."""
    pairs = [(sample, predict(sample)) for sample in samples]
    print(f"\n{name}: {len(pairs)} maps, {COPIES} resampled copies\n")
    print("| step | s | ms an image | peak memory grown, MiB |")
    print("|---|---|---|---|")
    row("calibrate (threshold, trust)", len(pairs), lambda: calibrate(pairs))
    seconds = row("evaluate, every metric", len(pairs), lambda: evaluated(pairs, len(pairs)))
    verdict = "under" if seconds < LIMIT_SECONDS else "OVER"
    row("the same, streamed 5 times over", 5 * len(pairs), lambda: evaluated(pairs, 5 * len(pairs)))
    print(f"\nevaluation after inference: {seconds:.2f} s, {verdict} {LIMIT_SECONDS:g} s")


def evaluated(pairs: list[tuple[Sample, Prediction]], count: int) -> None:
    """Evaluate a stream of so many images."""
    evaluate(repeated(pairs, count), CLASSES, 0.5, copies=COPIES)


def row(name: str, images: int, work: Callable[[], object]) -> float:
    """Run, print a line, and give the seconds."""
    before, start = peak(), time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    print(f"| {name} | {seconds:.2f} | {seconds / images * 1e3:.1f} | {peak() - before:.0f} |")
    return seconds


def peak() -> float:
    """Peak resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    default = Path(__file__).parents[2] / "shared" / "data" / "glas"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if folder.is_dir():
        timed(glas(folder), "GlaS")
    else:
        with tempfile.TemporaryDirectory() as root:
            timed(synthetic(Path(root)), "synthetic, 775 x 522")
