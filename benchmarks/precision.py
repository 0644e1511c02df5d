"""What a training step costs in each precision and memory layout, on the CPU or a GPU.

    python benchmarks/precision.py --device cuda [--recipe default] [--set erasing.u=4]

Whole updates on one batch of random images at the recipe's crop. The variants take turns, round
by round; ratios are medians over the rounds, to float32 in torch's own layout. `first` is the
first update: what choosing and loading kernels costs. Memory is the GPU's peak.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from wsol_deploy.model.build import build
from wsol_deploy.train.loader import Batch
from wsol_deploy.train.loop import make_deterministic
from wsol_deploy.train.recipe_file import load_recipe
from wsol_deploy.train.updates import Totals, Updater
from wsol_deploy.train.world import World

VARIANTS = [
    (precision, layout) for precision in ("float32", "bf16", "fp16") for layout in (False, True)
]
WARM_UP = 3


@dataclass
class Variant:
    """One precision and layout, its update, and what that has cost so far."""

    name: str
    update: Callable[[], None]
    first: float = 0.0
    peak: float = 0.0


def variant(arguments: argparse.Namespace, precision: str, channels_last: bool) -> Variant:
    chosen = [f"training.precision={precision}", f"training.channels_last={channels_last}".lower()]
    recipe = load_recipe(arguments.recipe, [*arguments.set, *chosen])
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    network = build(recipe.model, 2).to(device)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    network.train()
    if recipe.training.batch_norm == "frozen":
        network.freeze_batch_norm()
    updater = Updater(network, recipe, World(device=device))
    count, crop = recipe.optim.batch_size, recipe.data.crop
    x = torch.randint(0, 256, (count, 3, crop, crop), dtype=torch.uint8)
    batch = Batch(x, torch.arange(count) % 2, tuple(range(count)))

    def update() -> None:
        updater.update(0, count, [batch], 1e-5, recipe.loss, Totals())

    return Variant(f"{precision}{', channels last' if channels_last else ''}", update)


def seconds(work: Callable[[], None], device: str) -> float:
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], help="a recipe's key=value")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    make_deterministic()
    on_gpu = arguments.device.startswith("cuda")
    variants = [variant(arguments, *one) for one in VARIANTS]
    for one in variants:
        one.first = seconds(one.update, arguments.device)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            one.update()
            one.peak = torch.cuda.max_memory_allocated() / 2**20
    rounds = range(WARM_UP + arguments.rounds)
    times = [[seconds(one.update, arguments.device) for one in variants] for _ in rounds]
    times = times[WARM_UP:]
    name = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    print(f"{arguments.recipe} {' '.join(arguments.set)}, {name}, {arguments.rounds} rounds")
    print("| | ms an update | x float32 | first, s | peak MiB |\n|---|---|---|---|---|")
    for at, one in enumerate(variants):
        median = statistics.median(row[at] for row in times)
        ratio = statistics.median(row[0] / row[at] for row in times)
        peak = f"{one.peak:.0f}" if on_gpu else "-"
        print(f"| {one.name} | {median * 1000:.1f} | {ratio:.2f} | {one.first:.1f} | {peak} |")


if __name__ == "__main__":
    main()
