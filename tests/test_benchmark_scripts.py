"""Scripts in benchmarks/, most named in docs/results.md, on a model with every ingredient."""

from __future__ import annotations

import atexit
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training import tiny_recipe, write_images

from wsol_deploy.model import probe
from wsol_deploy.train import step
from wsol_deploy.train.recipe_file import to_toml

SCRIPTS = Path(__file__).parents[1] / "benchmarks"
LINE = re.compile(r"^(\S.*?)\s{2,}[\d.]+ +([\d.]+) +([\d.]+) +([\d.]+)", re.MULTILINE)
INGREDIENTS = {"pixel_head": 8, "smooth": 3, "probe": 0.75, "depths": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_images(tmp_path_factory.mktemp("images"), images=16)
    for place in (root, root / "masks"):
        shutil.copytree(place / "valid", place / "test")
    return root


@pytest.fixture(scope="module")
def checkpoint(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wsol_deploy.cli import main

    folder = tmp_path_factory.mktemp("run")
    taught = {"keep": "last", "self_training": 1.0}
    recipe = tiny_recipe(model=INGREDIENTS, loss={"pixels": 1.0}, training=taught)
    (folder / "recipe.toml").write_text(to_toml(recipe))
    command = ["wsol", "train", str(images), "--recipe", str(folder / "recipe.toml"), "--quiet"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [*command, "-o", str(folder / "run")])
        main()
    assert not ended.value.code
    return folder / "run" / "best.safetensors"


@pytest.mark.parametrize(
    ("script", "options", "rows"),
    [
        ("probing", ["--shares", "0", "0.75"], ["without", "0.75 of the mask"]),
        ("probing", ["--shares", "0.5", "--subset", "train", "--move", "0"], ["0.5 of the mask"]),
        ("smoothing", ["--cells", "1", "3"], ["1 cells", "3 cells"]),
        ("shift", ["--pixels", "0", "2"], ["0 pixels", "2 pixels"]),
        ("selftraining", ["--steps", "4"], ["as it is", "round 1", "round 2"]),
        ("selftraining", ["--teacher", "truth", "--only", "disc"], ["as it is", "round 1"]),
        ("selftraining", ["--teacher", "maps", "--crf", "1"], ["as it is", "round 1"]),
    ],
)
def test_a_script_prints_the_figures_of_every_way(
    checkpoint: Path,
    images: Path,
    script: str,
    options: list[str],
    rows: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in ("RIDGE", "MOVE"):
        monkeypatch.setattr(probe, name, getattr(probe, name))
    monkeypatch.setattr(sys, "argv", [script, str(checkpoint), str(images), *options])
    runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
    found = LINE.findall(capsys.readouterr().out)
    assert [name for name, *_ in found] == rows
    assert all(0 <= float(figure) <= 100 for _, *figures in found for figure in figures)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], None]]:
    """The ways of benchmarks/ways.py; what they change in a training's step is put back."""
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in ("trust", "erase"):
        monkeypatch.setattr(step, name, getattr(step, name))
    return runpy.run_path(str(SCRIPTS / "ways.py"))["WAYS"]


def test_by_the_relative_test_a_loss_may_double(ways: dict[str, Callable[[], None]]) -> None:
    loss, first = torch.tensor([0.9, 1.5, 2.1]), torch.ones(3)
    given = (1, torch.tensor([[2.0, 0.0]] * 3), torch.zeros(3, dtype=torch.int64), loss, first, 9.0)
    assert (step.trust(*given) > 0).tolist() == [True, False, False]
    ways["relative"]()
    assert (step.trust(*given) > 0).tolist() == [True, True, False]


def test_images_that_keep_to_each_condition_of_equation_14_are_counted(
    ways: dict[str, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_the_end: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_the_end.append)
    ways["counted"]()
    scores = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    loss, labels = torch.tensor([0.9, 1.5, 0.9, 0.9]), torch.zeros(4, dtype=torch.int64)
    for t in (0, 1):
        psi = step.trust(t, scores, labels, loss, torch.ones(4), 9.0)
        assert (psi > 0).tolist() == [True, False, False, False]
    at_the_end[0]()
    assert capsys.readouterr().out.splitlines()[1:] == [
        " first     1       4     50.0    75.0    25.0"
    ]


def test_harder_erasing_leaves_nothing_or_all(ways: dict[str, Callable[[], None]]) -> None:
    x, collected = torch.ones(1, 3, 1, 3), torch.tensor([[[[0.1, 0.5, 0.8]]]])
    assert step.erase(x, collected)[0, 0, 0].tolist() == pytest.approx([0.9, 0.5, 0.2])
    ways["hard"]()
    assert step.erase(x, collected)[0, 0, 0].tolist() == [1, 0, 0]
    assert step.erase(x, 0 * collected).equal(x)
