"""How much longer than a plain model does another take for the same images?

    python benchmarks/inference.py PLAIN.onnx OTHER.onnx ... --side 384

All models take turns of a few images, one at a time; the first of a turn, in which the threads of
the model before still spin, is not counted. Each round gives a ratio to the first model, and the
median over the rounds is printed, for the mask alone and for all outputs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from wsol_deploy import load

TURN = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, help="of the CPU; default: all cores")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 256, (1, asked.side, asked.side, 3), np.uint8)
    print(f"{'outputs':<8} {'ms':>7} {'times':>6}  model")
    for name, outputs in (("mask", ["mask"]), ("all", None)):
        models = [
            load(path, device=asked.device, outputs=outputs, threads=asked.threads)
            for path in asked.models
        ]
        seconds = np.empty((asked.rounds + 2, len(models)))
        for round_ in seconds:
            for at, model in enumerate(models):
                model.run(image)
                started = time.perf_counter()
                for _ in range(TURN):
                    model.run(image)
                round_[at] = (time.perf_counter() - started) / TURN
        seconds = seconds[2:]
        times = np.median(seconds / seconds[:, :1], axis=0)
        for path, spent, ratio in zip(asked.models, np.median(seconds, axis=0), times, strict=True):
            print(f"{name:<8} {1000 * spent:>7.1f} {ratio:>6.2f}  {path}")


if __name__ == "__main__":
    main()
