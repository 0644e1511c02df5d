"""The command line: one thin module a command; heavy rooms are imported when called."""

from wsol_deploy.cli.app import main

__all__ = ["main"]
