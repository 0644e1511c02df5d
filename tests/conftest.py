"""The command line, for every test."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings

from wsol_deploy.cli import main

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def wsol(monkeypatch, capsys):
    """Run the entry point in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wsol", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return run
