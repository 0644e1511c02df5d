"""`wsol quickstart`: the whole way, from labelled images to masks, by the other commands."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from wsol_deploy.cli.options import Quiet, Verbose
from wsol_deploy.errors import WsolError

SIZE, TRAIN, VALID, TEST = 320, 256, 32, 48
QUIET, RECIPE = "-q", "quickstart"
MOST = 3  # words of a command before its options that are shown


def quickstart(
    data: Annotated[
        Path | None,
        typer.Option(help="Your own labelled images. Default: synthetic micrographs."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for everything.")
    ] = Path("quickstart"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the images. Default: the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of images and training.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew even where it was stopped.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Train, export, evaluate and predict in one go, on built-in images or your own.

    Run again after a stop, it goes on where it was.

    Example: wsol quickstart --data photos/
    """
    started = time.perf_counter()
    run, masks, sheet = output / "run", output / "masks", output / "contact-sheet.png"
    folder = data or _built_in(output / "data", seed, quiet)
    said = [QUIET] if quiet else []
    more = ["--epochs", epochs] if epochs else []
    how = ["--recipe", RECIPE, "--seed", seed, *more, "--overwrite"]
    if not overwrite and _stopped(run, folder, epochs, seed, masks):
        how = ["--resume"]
    _step("train", folder, *how, "-o", run, *said)
    _step("export", "-m", run, "--format", "onnx", "--format", "torchscript", "--overwrite", *said)
    model = run / "export" / "model.onnx"
    report = output / "report.html"
    _step("evaluate", folder, "-m", model, "--report", report, "--sheet", sheet, *said)
    sources = _held_out(folder, model) if data else [folder / "test"]
    _step("predict", *sources, "-m", model, "-o", masks, "--overwrite", *said)
    if quiet:
        return
    print(
        f"\nDone in {time.perf_counter() - started:.0f} s. Masks were learned from image labels "
        f"alone.\n  look at   {sheet}   and   {report}\n  masks     {masks}/masks\n"
        f"  model     {model}   (one file; wsol info {model})\n"
        f"next: wsol demo -m {model}   ·   wsol train YOUR_FOLDER   ·   "
        "wsol predict YOUR_IMAGES -o out/",
        file=sys.stderr,
    )


def _built_in(root: Path, seed: int, quiet: bool) -> Path:
    from rich.console import Console
    from rich.progress import Progress

    from wsol_deploy.datasets.synthetic import generate
    from wsol_deploy.machine import cores

    count = TRAIN + VALID + TEST
    hidden = quiet or not sys.stderr.isatty()
    if not quiet:
        print(f"drawing {count} synthetic micrographs in {root}", file=sys.stderr)
    with Progress(console=Console(stderr=True), disable=hidden, transient=True) as bar:
        task = bar.add_task("drawing", total=count)
        return generate(
            root, seed=seed, size=SIZE, train=TRAIN, valid=VALID, test=TEST,
            workers=cores(), advance=lambda: bar.advance(task),
        ).root  # fmt: skip


def _stopped(run: Path, data: Path, epochs: int | None, seed: int, masks: Path) -> bool:
    """Whether the run is of this recipe and data, and stopped before it gave its masks."""
    try:
        from wsol_deploy.train import folders, state
        from wsol_deploy.train.data import open_for
    except ImportError:
        return False
    from wsol_deploy.batch.report import MANIFEST, concluded

    manifest = masks / MANIFEST
    try:
        started = state.data_sha256_of(run)
        stored = folders.load_recipe(run / folders.RECIPE)
    except WsolError:
        return False
    if concluded(manifest) and manifest.stat().st_mtime_ns > (run / state.FILE).stat().st_mtime_ns:
        return False
    wanted = folders.chosen_recipe(RECIPE, [], {"optim.epochs": epochs, "training.seed": seed})
    dataset = open_for(wanted, data)
    wanted = folders.for_labels(wanted, several=dataset.multi_label)
    return stored == wanted and dataset.fingerprint().sha256 == started


def _held_out(data: Path, model: Path) -> list[Path]:
    """The images that the evaluation was on."""
    from wsol_deploy.artifacts import read_card
    from wsol_deploy.evaluation.held_out import select

    return [sample.image for sample in select(data, read_card(model)).dataset.samples]


def _step(*words: object) -> None:
    """Say a command and run it, as if it were typed."""
    from wsol_deploy.cli.app import app

    argv = [str(word) for word in words]
    if QUIET not in argv:
        print(f"\n$ wsol {_shortened(argv)}", file=sys.stderr, flush=True)
    code = app(argv, standalone_mode=False)
    if code:
        raise typer.Exit(code)


def _shortened(argv: list[str]) -> str:
    """A command line, of many images the first."""
    options = next(at for at, word in enumerate(argv) if at and word.startswith("-"))
    named = [*argv[: min(options, MOST)], *argv[options:]]
    more = options - MOST
    return shlex.join(named) + (f"   # and {more} more images" if more > 0 else "")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Make")(quickstart)
