"""`wsol predict`: masks for files, folders and globs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsol_deploy.cli.options import Device, Model, Quiet, Verbose


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Files, folders (all levels) and globs."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")],
    model: Model = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Of the soft mask. Default: the card's.", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option(help="Do again what is done already.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a TorchScript or .pt2 file of unknown origin.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write a mask for every image, and results.jsonl with labels and probabilities.

    Example: wsol predict photos/ -o masks/
    """
    from wsol_deploy.batch.pipeline import run
    from wsol_deploy.batch.sources import Sources
    from wsol_deploy.errors import SomeImagesFailed
    from wsol_deploy.runs import resolve
    from wsol_deploy.runtime import load

    found = Sources(sources, leave_out=output)
    outputs = ("mask", "probs", "localizer_probs", "background_probs")
    predictor = load(resolve(model, want="artifact"), device=device, outputs=outputs, trust=trust)
    done, failed = run(predictor, found, output, threshold=threshold, overwrite=overwrite)
    if failed:
        raise SomeImagesFailed(f"{failed} images failed, {done} done; see the lines above")
    if not quiet:
        typer.echo(f"{done} masks in {output}/masks. Next: wsol demo", err=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Use")(predict)
