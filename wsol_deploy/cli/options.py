"""Options that mean the same everywhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

LEVELS = {0: logging.INFO, 1: logging.DEBUG, 2: logging.DEBUG}
state = {"traceback": False}


def _verbose(count: int) -> int:
    if count:
        logging.getLogger("wsol_deploy").setLevel(LEVELS[min(count, 2)])
    state["traceback"] = state["traceback"] or count > 1
    return count


def _quiet(quiet: bool) -> bool:
    if quiet:
        logging.getLogger("wsol_deploy").setLevel(logging.ERROR)
    return quiet


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A run, a checkpoint or an artifact. Default: the newest run.",
        show_default=False,
    ),
]
Trained = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A run or a checkpoint. Default: the newest run.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N, or for .onnx files tensorrt[:N].")
]
TrainingDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        callback=_verbose,
        show_default=False,
        help="More messages; -vv shows tracebacks.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_quiet, help="Errors only, no progress.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Data = Annotated[
    Path,
    typer.Argument(
        help="GlaS or CUB-200-2011 as published, a folder per class, or a CSV (image,label; "
        "several labels as in cat;dog).",
        show_default=False,
    ),
]
