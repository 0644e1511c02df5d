"""`wsol export`: a checkpoint as files that run anywhere, each proved against PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wsol_deploy.cli.options import Model, Quiet, Verbose

FORMATS_HELP = "onnx, torchscript, pt2 or safetensors; repeatable."


def export(
    model: Model = None,
    kinds: Annotated[list[str] | None, typer.Option("--format", help=FORMATS_HELP)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder. Default: export/ in the run."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace artifacts that are there.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Export a model and prove that the file gives what PyTorch gives.

    Example: wsol export --format onnx --format torchscript
    """
    from wsol_deploy.errors import MissingExtra
    from wsol_deploy.runs import resolve

    checkpoint = resolve(model, want="checkpoint")
    try:
        from wsol_deploy.export import export_model
        from wsol_deploy.export.formats import parse
    except ImportError as error:
        raise MissingExtra("Exporting", "train") from error
    chosen = [parse(name) for name in kinds or ["onnx"]]
    done = export_model(checkpoint, chosen, output, overwrite=overwrite)
    for exported in done:
        print(exported.path)
    if not quiet:
        first = done[0].path
        print(f"next: wsol predict IMAGES -o masks/ -m {first}", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Make")(export)
