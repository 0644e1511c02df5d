"""What erasing and each ingredient cost, and how much of a step is waiting for images.

    python benchmarks/training.py erasing
    python benchmarks/training.py ingredients synthetic DATA
    python benchmarks/training.py loading DATA --workers 0 2

`erasing` trusts every mask, so that no sample stops early: the worst case for each u. The u take
turns on the same batch, round by round, so that whatever else the machine does meets all of them;
ratios are medians over the rounds. Peak memory is that of a process of its own for each u, less
what it held before its first step (Linux). `ingredients` lets the rows of a plan's table take turns
likewise, a whole update each on real images. `loading` runs a recipe's real steps on real images.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from wsol_deploy.datasets import open_dataset
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.reproduce.jobs import make_jobs
from wsol_deploy.reproduce.plan import load_plan
from wsol_deploy.train import step
from wsol_deploy.train.loader import Images, TrainLoader
from wsol_deploy.train.recipe import ErasingRecipe, LossRecipe, Recipe
from wsol_deploy.train.recipe_file import load_recipe
from wsol_deploy.train.updates import Totals, Updater
from wsol_deploy.train.world import World

CLASSES = 2


def trust_everything() -> None:
    """Let no sample stop: psi is its posterior's place holder, above zero."""
    step.trust = lambda t, logits, labels, loss, *rest: torch.full_like(loss, 0.5)


def one_step(arguments: argparse.Namespace, u: int) -> Callable[[], None]:
    """A function that does one whole training step, the update left out."""
    torch.manual_seed(0)
    config = ModelConfig(backbone=arguments.backbone, weights="none")
    network = build(config, CLASSES).train()
    if arguments.batch_norm == "frozen":
        network.freeze_batch_norm()
    x = torch.randn(arguments.batch_size, 3, arguments.size, arguments.size)
    labels = torch.arange(arguments.batch_size) % CLASSES
    erasing = ErasingRecipe(u=u, mask_gradient=arguments.mask_gradient)

    def run() -> None:
        network.zero_grad(set_to_none=True)
        report = step.training_step(
            network, x, labels, LossRecipe(), erasing, lambda loss: loss.backward()
        )
        assert report.passes == (u + 1) * len(x)

    return run


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def held(field: str) -> float:
    """MiB from Linux's own account: VmRSS, held now, or VmHWM, held at most."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if field in x)
    return int(line.split()[1]) / 1024


def memory(arguments: argparse.Namespace) -> None:
    """Print the MiB that steps of one u add to the process at most."""
    trust_everything()
    run = one_step(arguments, arguments.memory_of)
    before = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    for _ in range(2):
        run()
    print(held("VmHWM") - before)


def erasing(arguments: argparse.Namespace) -> None:
    """Seconds and peak memory by u."""
    trust_everything()
    runs = {u: one_step(arguments, u) for u in arguments.u}
    for run in runs.values():
        run()
    times = [{u: seconds(run) for u, run in runs.items()} for _ in range(arguments.rounds)]
    peaks = {
        u: float(
            subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--memory-of", str(u)],
                capture_output=True, text=True, check=True,
            ).stdout
        )
        for u in arguments.u
    }  # fmt: skip
    first = arguments.u[0]
    print(
        f"{arguments.backbone}, {arguments.batch_size} x {arguments.size} x {arguments.size}, "
        f"{arguments.mask_gradient}, batch norm {arguments.batch_norm}, "
        f"{torch.get_num_threads()} threads, {arguments.rounds} rounds"
    )
    print("| u | s a step | times u=0 | peak MiB | times u=0 |\n|---|---|---|---|---|")
    for u in arguments.u:
        median = statistics.median(one[u] for one in times)
        ratio = statistics.median(one[u] / one[first] for one in times)
        print(
            f"| {u} | {median:.2f} | {ratio:.2f} | {peaks[u]:.0f} | {peaks[u] / peaks[first]:.2f} |"
        )


def ingredients(arguments: argparse.Namespace) -> None:
    """Seconds an update by row of a plan's table."""
    plan = load_plan(arguments.plan)
    rows = arguments.row or plan.tables[arguments.table].rows
    jobs = make_jobs(plan, rows, [0], Path(), budget="small", overrides=arguments.set)
    works = {job.row: updates_of(job.recipe, arguments.data) for job in jobs}
    for work in works.values():
        work()
    times = [{row: seconds(work) for row, work in works.items()} for _ in range(arguments.rounds)]
    print(f"{torch.get_num_threads()} threads, {arguments.rounds} rounds")
    print("| row | s an update | times the first |\n|---|---|---|")
    for row in rows:
        median = statistics.median(one[row] for one in times)
        ratio = statistics.median(one[row] / one[rows[0]] for one in times)
        print(f"| {plan.rows[row].title} | {median:.2f} | {ratio:.2f} |")


def updates_of(recipe: Recipe, data: Path) -> Callable[[], None]:
    """A function that does the next update of a training, its images decoded before."""
    train = open_dataset(data, split=recipe.data.split).subset("train")
    torch.manual_seed(0)
    network = build(recipe.model, len(train.classes)).train()
    if recipe.training.channels_last:
        network.to(memory_format=torch.channels_last)
    if recipe.training.batch_norm == "frozen":
        network.freeze_batch_norm()
    updater = Updater(network, recipe, World())
    images = Images(train.samples, recipe.data.size.policy)
    loader = TrainLoader(images, recipe.data, recipe.optim.batch_size)
    stream = enumerate(one for epoch in itertools.count() for one in loader.epoch(epoch))

    def run() -> None:
        number, (size, batches) = next(stream)
        updater.update(number, size, batches, 1e-4, recipe.loss, Totals())

    return run


def loading(arguments: argparse.Namespace) -> None:
    """Share of a step spent waiting for images, in the first epoch and with a warm cache."""
    recipe = load_recipe(arguments.recipe, arguments.set)
    train = open_dataset(arguments.data, split=recipe.data.split).subset("train")
    network = build(recipe.model, len(train.classes)).train()
    network.freeze_batch_norm()
    updater = Updater(network, recipe, World())
    print("| workers | epoch | s waiting a step | s a step | share |\n|---|---|---|---|---|")
    for workers in arguments.workers:
        data = recipe.data.model_copy(update={"workers": workers})
        images = Images(train.samples, data.size.policy)
        loader = TrainLoader(images, data, recipe.optim.batch_size)
        for epoch in range(2):
            waiting, working = spent(updater, loader, epoch, arguments.steps)
            share = waiting / (waiting + working)
            kind = "first" if epoch == 0 else "cached"
            print(f"| {workers} | {kind} | {waiting:.3f} | {waiting + working:.3f} | {share:.1%} |")


def spent(updater: Updater, loader: TrainLoader, epoch: int, steps: int) -> tuple[float, float]:
    """Seconds a step of waiting and of working, over the first steps of an epoch."""
    waiting = working = 0.0
    start = time.perf_counter()
    number = 0
    for number, (images, batches) in enumerate(limited(loader.epoch(epoch), steps), start=1):
        ready = list(batches)
        got = time.perf_counter()
        updater.update(number, images, ready, 1e-4, updater.recipe.loss, Totals())
        waiting, working = waiting + got - start, working + time.perf_counter() - got
        start = time.perf_counter()
    return waiting / number, working / number


def limited(updates: Iterable, count: int) -> Iterable:
    """The first so many, or all for 0."""
    for number, update in enumerate(updates):
        if count and number == count:
            return
        yield update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("erasing")
    one.add_argument("--u", type=int, nargs="+", default=[0, 1, 2, 4, 8])
    one.add_argument("--backbone", default="resnet18")
    one.add_argument("--size", type=int, default=224)
    one.add_argument("--batch-size", type=int, default=8)
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--mask-gradient", choices=["detached", "attached"], default="detached")
    one.add_argument("--batch-norm", choices=["train", "frozen"], default="train")
    one.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    one.set_defaults(run=erasing)
    three = commands.add_parser("ingredients")
    three.add_argument("plan")
    three.add_argument("data", type=Path)
    three.add_argument("--table", default="ablation")
    three.add_argument("--row", action="append", help="instead of the table's")
    three.add_argument("--set", action="append", default=[])
    three.add_argument("--rounds", type=int, default=5)
    three.set_defaults(run=ingredients)
    two = commands.add_parser("loading")
    two.add_argument("data", type=Path)
    two.add_argument("--recipe", default="default")
    two.add_argument("--set", action="append", default=[])
    two.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    two.add_argument("--steps", type=int, default=0, help="of each epoch; 0 for all")
    two.set_defaults(run=loading)
    arguments = parser.parse_args()
    if getattr(arguments, "memory_of", None) is not None:
        memory(arguments)
    else:
        arguments.run(arguments)


if __name__ == "__main__":
    main()
