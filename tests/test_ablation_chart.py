"""The chart of an ablation, from the tables that `wsol reproduce` writes."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from wsol_deploy.reproduce.plan import load_plan
from wsol_deploy.reproduce.writing import HEAD

ROOT = Path(__file__).parents[1]
MEASURED = sorted((ROOT / "docs" / "ablation").glob("*.csv"))
COLUMNS = ("error", "f1_plus", "f1_minus", "pxap", "epoch_seconds")


def table(path: Path, rows: dict[str, tuple[float, ...]]) -> Path:
    """A tables.csv; a row of no figures is not trained yet."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for row, figures in rows.items():
            for place, column in enumerate(COLUMNS):
                mean = figures[place] if figures else ""
                writer.writerow(["ablation", row, f"row {row}", column, mean, "", 1, "", ""])
    return path


def chart(monkeypatch: pytest.MonkeyPatch, tables: Path, picture: Path) -> None:
    script = str(ROOT / "benchmarks" / "ablation_chart.py")
    monkeypatch.setattr(sys, "argv", [script, str(tables), str(picture)])
    runpy.run_path(script, run_name="__main__")


def test_a_row_more_makes_the_chart_higher_and_one_that_is_not_trained_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"recipe": (0, 80, 79, 88, 20.0), "less": (2.5, 60, 70, 65, 9.5)}
    heights = []
    for more in ({}, {"later": ()}, {"plus": (0, 82, 79, 89, 31.0)}):
        picture = tmp_path / "chart.png"
        chart(monkeypatch, table(tmp_path / "tables.csv", rows | more), picture)
        heights.append(Image.open(picture).height)
    assert heights[0] == heights[1] < heights[2]


def test_a_table_without_figures_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = table(tmp_path / "tables.csv", {"recipe": ()})
    with pytest.raises(SystemExit, match="no row has figures yet"):
        chart(monkeypatch, empty, tmp_path / "chart.png")
    assert not (tmp_path / "chart.png").exists()


@pytest.mark.parametrize("measured", MEASURED, ids=lambda path: path.stem)
def test_what_is_measured_is_the_plans_table(measured: Path) -> None:
    plan = load_plan(measured.stem)
    with measured.open(newline="", encoding="utf-8") as file:
        found = {line["row"]: line["title"] for line in csv.DictReader(file)}
    assert found == {row: plan.rows[row].title for row in plan.tables["ablation"].rows}
