"""The Typer app, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback

import typer

from wsol_deploy.cli.options import state
from wsol_deploy.errors import WsolError

COMMANDS = (
    *("quickstart", "train", "evaluate", "export"),
    *("predict", "demo", "info", "benchmark", "reproduce"),
)
INTERRUPTED = 130

app = typer.Typer(
    name="wsol",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train from image-level labels, export one file, get pixel masks anywhere.",
    epilog="Start with: wsol quickstart   ·   Your own data: wsol train DATA",
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from wsol_deploy import __version__

        print(__version__)
        raise typer.Exit


for name in COMMANDS:
    importlib.import_module(f"wsol_deploy.cli.{name}").register(app)


def main() -> None:
    """Run the command line and exit with its code (see `wsol_deploy.errors`)."""
    _log_to_stderr()
    try:
        app()
    except WsolError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}", 1)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (a bug of ours; -vv shows where)", 1)


def _fail(message: str, code: int) -> None:
    if state["traceback"]:
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("wsol_deploy")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
