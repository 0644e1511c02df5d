"""A run's folder: its name, its recipe, and what may be replaced in it."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from wsol_deploy import runs
from wsol_deploy.errors import UsageError
from wsol_deploy.files import write_whole
from wsol_deploy.locks import alone
from wsol_deploy.train.logs import METRICS, TAUGHT_METRICS, TENSORBOARD
from wsol_deploy.train.methods import check_meaning
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.recipe_file import load_recipe, parse, run_recipe, to_toml
from wsol_deploy.train.state import FILE as STATE
from wsol_deploy.train.state import TAUGHT

RECIPE = "recipe.toml"
FILES = (RECIPE, runs.DATA, runs.BEST, runs.LAST, STATE, TAUGHT, METRICS, TAUGHT_METRICS)
OURS = (*FILES, TENSORBOARD, runs.EXPORT_FOLDER)
METHOD = "model.method"
LENGTHS = ("optim.epochs", "training.max_steps")


def new(recipe: Recipe, data: Path) -> Path:
    """A folder that does not exist, named by time, method and data."""
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{recipe.model.method}-{data.resolve().stem}"
    names = (name if number == 1 else f"{name}-{number}" for number in range(1, 1000))
    return next(path for path in map(runs.root().joinpath, names) if not path.exists())


def chosen_recipe(name: str | None, overrides: Sequence[str], flags: Mapping[str, Any]) -> Recipe:
    """The recipe of a new run; options of the command line win over `--set`. Raises UsageError."""
    recipe = load_recipe(name or "default", overrides, flags.get(METHOD))
    for key, value in flags.items():
        if value is not None:
            check_meaning(key, recipe.model.method)
    return _with(recipe, flags)


def for_labels(recipe: Recipe, *, several: bool) -> Recipe:
    """The recipe for images that show one class each, or several. Raises UsageError."""
    if not several or recipe.model.task == "multi-label":
        return recipe
    return _with(recipe, {"model.task": "multi-label", "model.contrast": False})


def stored_recipe(
    folder: Path, name: str | None, overrides: Sequence[str], flags: Mapping[str, Any]
) -> Recipe:
    """The recipe of a run to go on with; only its length may change.

    Raises:
        UsageError: another change is asked for.
    """
    stored = run_recipe(folder / RECIPE)
    if name is not None or overrides:
        raise UsageError(f"--resume takes the recipe of {folder}; leave out --recipe and --set")
    changed = {key: value for key, value in flags.items() if value is not None}
    wanted = _with(stored, {k: v for k, v in changed.items() if k not in LENGTHS})
    if wanted != stored:
        raise UsageError(
            f"--resume takes the recipe of {folder}; only --epochs and --max-steps may change"
        )
    lengths = {key: changed.get(key) for key in LENGTHS}
    if lengths["training.max_steps"] is None:
        lengths["training.max_steps"] = 0
    return _with(stored, lengths)


def resumed(output: Path | None, data: Path) -> Path:
    """The run to go on with: the one named, else the newest of this data that has saved its state.

    Raises:
        UsageError: there is none.
    """
    if output is not None:
        folder = output if output.is_dir() else runs.root() / output
        if not (folder / RECIPE).is_file():
            raise UsageError(f"{output}: no run to go on with (no {RECIPE} in it)")
        return folder
    saved = [
        path for path in runs.root().glob(f"*/{STATE}") if runs.data_of(path) == data.resolve()
    ]
    if not saved:
        raise UsageError(
            f"{runs.root()}: no run of {data} to go on with; name one with --output, or train anew"
        )
    return max(saved, key=lambda path: path.stat().st_mtime_ns).parent


@contextmanager
def prepared(folder: Path, recipe: Recipe, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder, write the recipe into it, and keep other trainings out of it.

    Raises:
        UsageError: something is there and may not be replaced.
        WsolError: another training is writing to it.
        OSError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder for the run")
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, "wsol train"):
        if not resume:
            _clear(folder, overwrite)
        for name in FILES:
            for half_written in folder.glob(f".{name}.*"):
                half_written.unlink()
        write_whole(folder / RECIPE, to_toml(recipe).encode())
        yield


def _clear(folder: Path, overwrite: bool) -> None:
    if not any(folder.iterdir()):
        return
    if not (folder / RECIPE).is_file():
        raise UsageError(f"{folder}: holds something that is no run; name another folder")
    if not overwrite:
        raise UsageError(f"{folder}: holds a run; use --resume, --overwrite, or another --output")
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _with(recipe: Recipe, flags: Mapping[str, Any]) -> Recipe:
    document = tomllib.loads(to_toml(recipe))
    for key, value in flags.items():
        if value is not None:
            section, _, name = key.partition(".")
            document[section][name] = value
    return parse(document, "options")
