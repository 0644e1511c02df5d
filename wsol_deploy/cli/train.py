"""`wsol train`: from labelled images to checkpoints."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsol_deploy.cli.options import Data, Quiet, TrainingDevice, Verbose

if TYPE_CHECKING:
    from wsol_deploy.datasets import Dataset
    from wsol_deploy.train.loop import Outcome
    from wsol_deploy.train.recipe import Recipe
    from wsol_deploy.train.world import World

INTERRUPTED = 130
FEW, GOOD = 150, 360  # updates: too few for masks, and enough (docs/results.md)
Flag = dict[str, Any]


def train(
    data: Data,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="default, quickstart, paper-glas, paper-cub5, or a TOML file.",
            show_default="default",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A recipe's key=value, as in optim.lr=0.01; repeatable."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="minmax, cam-avg, cam-max, cam-lse, wildcat, deep-mil, unet (learns from masks), "
            "all-ones or centre-box (constant). Default: the recipe's.",
            show_default=False,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="resnet18, mobilenet_v2, efficientnet_lite0, any timm model, ..."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The backbone's start: imagenet, none, or a file.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="auto, official, paper, stratified or hash.")
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(help="CSV column; images of one group never straddle splits."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the images.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images at once.")] = None,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many updates.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything drawn.")] = None,
    device: TrainingDevice = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run's folder. Default: a new one in runs/."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run in --output, else with the newest of DATA."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the run in --output.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Train on images with a label each. Masks only measure; unet alone learns from them.

    Example: wsol train photos/ --epochs 20
    """
    from wsol_deploy.errors import MissingExtra

    try:
        from wsol_deploy.train.loop import train as run_training
    except ImportError as error:
        raise MissingExtra("Training", "train") from error
    from wsol_deploy.batch.interrupt import interruptible
    from wsol_deploy.runs import remember_data
    from wsol_deploy.runtime.devices import resolve as resolve_device
    from wsol_deploy.train.world import join

    flags: Flag = {
        "model.method": method, "model.backbone": backbone, "model.weights": weights,
        "data.split": split, "data.group_column": group_column, "optim.epochs": epochs,
        "optim.batch_size": batch_size, "training.max_steps": max_steps, "training.seed": seed,
    }  # fmt: skip
    with interruptible() as asked, join(resolve_device(device)) as world, ExitStack() as hold:
        from wsol_deploy.train import folders, state
        from wsol_deploy.train.check import check_network
        from wsol_deploy.train.data import open_for
        from wsol_deploy.train.finish import check_masks

        if resume:
            folder = folders.resumed(output, data)
            chosen = folders.stored_recipe(folder, recipe, set_ or [], flags)
        else:
            chosen = folders.chosen_recipe(recipe, set_ or [], flags)
            folder = Path(world.agree(str(output or folders.new(chosen, data))))
        dataset = open_for(chosen, data)
        check_masks(dataset, chosen.model.method)
        chosen = folders.for_labels(chosen, several=dataset.multi_label)
        check_network(chosen.model, len(dataset.classes))
        if resume and (folder / state.FILE).is_file():
            state.check_data(folder, dataset.fingerprint().sha256)
        if world.leads:
            hold.enter_context(folders.prepared(folder, chosen, resume=resume, overwrite=overwrite))
            remember_data(folder, data)
        world.wait()
        _announce(folder, chosen, dataset, world, quiet)
        outcome = run_training(chosen, dataset, folder, world=world, stop=asked.is_set, quiet=quiet)
        if world.leads:
            _finish(outcome, data, dataset, str(world.device), chosen.training.max_steps, quiet)
    if outcome.interrupted or asked.is_set():
        raise typer.Exit(INTERRUPTED)


def _announce(folder: Path, recipe: Recipe, dataset: Dataset, world: World, quiet: bool) -> None:
    if quiet or not world.leads:
        return
    several = ", several an image" if recipe.model.task == "multi-label" else ""
    counts = ", ".join(f"{len(dataset.subset(one))} {one}" for one in ("train", "valid", "test"))
    print(
        f"{dataset.name}: {len(dataset.classes)} classes{several}; {counts}\n"
        f"{recipe.model.method} on {recipe.model.backbone}, {world.device}; run {folder}",
        file=sys.stderr,
    )
    for note in _notes(recipe, dataset, world.size):
        print(f"note: {note}", file=sys.stderr)


def _notes(recipe: Recipe, dataset: Dataset, processes: int) -> Iterator[str]:
    """What should be known before the training and not after it."""
    images = len(dataset.subset("train")) * recipe.data.crops
    epoch = math.ceil(images / (recipe.optim.batch_size * recipe.optim.accumulate * processes))
    if recipe.optim.epochs * epoch < FEW:
        yield (
            f"{recipe.optim.epochs * epoch} updates in all, masks take about {GOOD}: "
            f"--epochs {math.ceil(GOOD / epoch)}"
        )
    if not dataset.subset("valid"):
        yield (
            "no validation images, so neither the threshold nor what to review is fitted, and "
            "nothing tells whether masks get better: leave data.valid_fraction above 0, or name "
            "some in the data set's own split"
        )


def _self_training(outcome: Outcome) -> str:
    course = outcome.course
    return f"; self-training goes on from {course.done} of {course.updates}" if course else ""


def _going_on(folder: Path, data: Path, max_steps: int) -> str:
    limit = ["--max-steps", str(max_steps)] if max_steps else []
    return shlex.join(["wsol", "train", str(data), "--resume", "-o", str(folder), *limit])


def _finish(
    outcome: Outcome, data: Path, dataset: Dataset, device: str, max_steps: int, quiet: bool
) -> None:
    from wsol_deploy.runs import BEST

    folder, at = outcome.folder, outcome.position
    if outcome.interrupted:
        print(
            f"stopped and saved after {at.epoch} epoch{'s' * (at.epoch != 1)}, {at.steps} updates"
            f"{_self_training(outcome)}; go on with: {_going_on(folder, data, max_steps)}",
            file=sys.stderr,
        )
        return
    from wsol_deploy.train.finish import calibrate_checkpoint

    card = calibrate_checkpoint(folder / BEST, dataset, device)
    print(folder)
    if quiet:
        return
    for found in card.metrics:
        values = ", ".join(f"{name} {value:.1%}" for name, value in found.values.items())
        print(f"validation, {found.images} images: {values}", file=sys.stderr)
    after = " after self-training" if outcome.self_trained else ""
    print(
        f"weights of epoch {outcome.kept}{after}; threshold {card.threshold.value:g} "
        f"({card.threshold.chosen_on})\n"
        f"next: wsol export -m {folder} --format onnx   ·   wsol evaluate {data} -m {folder}",
        file=sys.stderr,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Make")(train)
