"""Which label-free score of a checkpoint goes with the quality of its masks?

    python benchmarks/selection.py DATA --recipe quickstart --set optim.epochs=6 --seeds 2

Trains and keeps the checkpoint of every epoch. Of each: on the validation images, without their
masks, the error of the labels, the loss on X+ (`wsol train` chooses by the error, then by this),
the entropies on X+ and on X-, and the gap between them; on the test images the mean of F1+ and
F1- at the threshold that the validation masks ask for. Prints a row an epoch, and each score's
rank correlation with F1 over the epochs of one training, and over the second half of them, from
which one would be chosen: 1 would choose the best mask, - is where all have the same score.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsol_deploy.datasets import Dataset, open_dataset
from wsol_deploy.evaluation import calibrate, evaluate
from wsol_deploy.evaluation.run import Predictions, open_model
from wsol_deploy.runs import LAST
from wsol_deploy.train.loop import train
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.recipe_file import load_recipe

SCORES = {"error": -1, "loss on X+": -1, "entropy X+": -1, "entropy X-": 1, "gap": 1}


def checkpoints(recipe: Recipe, dataset: Dataset, folder: Path) -> Iterator[Path]:
    """Train; the checkpoint of each epoch."""
    last, kept = folder / LAST, []

    def keep() -> bool:
        written = last.stat().st_mtime_ns if last.is_file() else 0
        if written and written not in kept:
            kept.append(written)
            shutil.copy(last, folder / f"epoch-{len(kept)}.safetensors")
        return False

    train(recipe, dataset, folder, stop=keep, quiet=True)
    keep()
    yield from (folder / f"epoch-{number + 1}.safetensors" for number in range(len(kept)))


def judge(checkpoint: Path, dataset: Dataset) -> list[float]:
    """The scores in the order of `SCORES`, and F1 in percent."""
    predictor = open_model(checkpoint, "cpu")
    valid, test = dataset.subset("valid"), dataset.subset("test")
    predictions = list(Predictions(predictor, valid.samples))
    blind = [(replace(sample, mask=None), prediction) for sample, prediction in predictions]
    images = evaluate(blind, dataset.classes, 0.5).images
    error = np.mean([image.label_error for image in images])
    loss = -np.mean(np.log([max(image.label_probability, 1e-12) for image in images]))
    inside = np.mean([image.foreground_entropy for image in images])
    outside = np.mean([image.background_entropy for image in images])
    threshold = calibrate(predictions).threshold.value
    found = evaluate(Predictions(predictor, test.samples), dataset.classes, threshold).values
    quality = 50 * (found["f1_plus"] + found["f1_minus"])
    return [float(v) for v in (error, loss, inside, outside, outside - inside, quality)]


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's; NaN where either is constant."""
    ranks = [_ranks(values) - (len(values) - 1) / 2 for values in (one, other)]
    spread = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / spread if spread else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places from 0; equal values share the mean of theirs."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return below + (equal - 1) / 2


def correlations(table: np.ndarray) -> list[float]:
    """Of each score with F1, the last column, over the epochs, the rows."""
    signs = SCORES.values()
    return [rank_correlation(table[:, at] * sign, table[:, -1]) for at, sign in enumerate(signs)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    print(f"{'seed':>11} {'epoch':>5} {' '.join(f'{name:>10}' for name in SCORES)} {'F1':>6}")
    found = defaultdict(list)
    for seed in range(asked.seeds):
        recipe = load_recipe(asked.recipe, [*asked.changes, f"training.seed={seed}"])
        dataset = open_dataset(asked.data, split=recipe.data.split, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            rows = []
            for number, path in enumerate(checkpoints(recipe, dataset, Path(folder)), start=1):
                rows.append(judge(path, dataset))
                *scores, quality = rows[-1]
                cells = " ".join(f"{score:>10.4f}" for score in scores)
                print(f"{seed:>11} {number:>5} {cells} {quality:>6.2f}", flush=True)
        table = np.array(rows)
        found["rank corr."].append(correlations(table))
        found["second half"].append(correlations(table[len(table) // 2 :]))
    for name, of_seeds in found.items():
        means = (row[~np.isnan(row)].mean() if not np.isnan(row).all() else None
                 for row in np.array(of_seeds).T)  # fmt: skip
        cells = " ".join(f"{'-' if mean is None else f'{mean:.2f}':>10}" for mean in means)
        print(f"{name:>11} {'':>5} {cells}")


if __name__ == "__main__":
    main()
