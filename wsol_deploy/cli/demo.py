"""`wsol demo`: the model in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsol_deploy.cli.options import Device, Quiet, Verbose


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A run, a checkpoint or an artifact; repeat it to compare. Default: newest run.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 7860,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD",
            envvar="WSOL_DEMO_AUTH",
            help="Ask for a name and a password.",
            show_default=False,
        ),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(help="A folder of pictures to begin with.", show_default=False),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    device: Device = "auto",
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a TorchScript or .pt2 file of unknown origin.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Show the model in a browser: drop a picture, see its mask, question it, download it.

    Example: wsol demo --open
    """
    from importlib.util import find_spec

    from wsol_deploy.errors import MissingExtra
    from wsol_deploy.runs import resolve

    named: list[str] | list[None] = model or [None]
    models = [resolve(name, want="artifact") for name in named]
    if find_spec("gradio") is None:
        raise MissingExtra("The demo", "demo")
    from wsol_deploy.demo.server import Options, parse_auth, serve

    serve(
        Options(
            models=models,
            host=host,
            port=port,
            auth=parse_auth(auth) if auth else None,
            examples=examples,
            open_browser=open_browser,
            device=device,
            trust=trust,
        )
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Use")(demo)
