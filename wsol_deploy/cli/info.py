"""`wsol info`: what a model file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsol_deploy.cli.options import Json, Quiet, Verbose

CAN_RUN_CODE = "TorchScript and .pt2 files can run code when loaded: open only files you trust."


def info(
    file: Annotated[
        Path | None, typer.Argument(help="A run, a checkpoint or an artifact. Default: newest run.")
    ] = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Show the card inside a model file: classes, threshold, metrics, what made it.

    Example: wsol info quickstart/run/export/model.onnx
    """
    from wsol_deploy.artifacts import format_of, read_card
    from wsol_deploy.runs import resolve

    path = resolve(file, want="artifact")
    card = read_card(path)
    if json:
        print(card.model_dump_json(indent=2))
        return
    from wsol_deploy.cli.card_view import print_card

    print_card(path, card)
    if format_of(path) in ("torchscript", "pt2"):
        print(CAN_RUN_CODE)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Use")(info)
