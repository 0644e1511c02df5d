"""The command line, and something tiny to train on, for every test."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import settings

from wsol_deploy.cli import main

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def log_as_of_a_library():
    """What a command of an earlier test set up for its messages does not stay."""
    logger = logging.getLogger("wsol_deploy")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of a tiny data set to train on."""
    from training import write_images

    return write_images(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe file of seconds."""
    from training import tiny_recipe

    from wsol_deploy.train.recipe_file import to_toml

    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(to_toml(tiny_recipe()))
    return str(path)
