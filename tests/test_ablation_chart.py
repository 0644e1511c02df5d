"""An ablation as chart and table, and the merging of several, of what `wsol reproduce` wrote."""

from __future__ import annotations

import csv
import runpy
import statistics
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsol_deploy.reproduce.plan import load_plan
from wsol_deploy.reproduce.writing import HEAD

ROOT = Path(__file__).parents[1]
MEASURED = sorted((ROOT / "docs" / "ablation").glob("*.csv"))
MERGE = runpy.run_path(str(ROOT / "benchmarks" / "ablation_merge.py"))
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


def benchmark(monkeypatch: pytest.MonkeyPatch, name: str, *given: Path) -> None:
    script = str(ROOT / "benchmarks" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [script, *map(str, given)])
    runpy.run_path(script, run_name="__main__")


def chart(monkeypatch: pytest.MonkeyPatch, tables: Path, picture: Path) -> None:
    benchmark(monkeypatch, "ablation_chart", tables, picture)


def line(row: str, values: list[float]) -> dict[str, str]:
    """A line of tables.csv as it is for these figures, a seed each."""
    figures = {
        "mean": str(statistics.mean(values)) if values else "",
        "sd": str(statistics.stdev(values)) if len(values) > 1 else "",
        "seeds": str(len(values)),
    }
    return dict.fromkeys(HEAD, "") | {"table": "ablation", "row": row, "column": "pxap"} | figures


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


def test_a_row_of_fewer_seeds_than_the_first_says_so() -> None:
    row = runpy.run_path(str(ROOT / "benchmarks" / "ablation_chart.py"))["Row"]
    assert row("less", 1, {}, {}).name(2) == "less (1 of 2 seeds)"
    assert row("less", 2, {}, {}).name(2) == row("less", 3, {}, {}).name(2) == "less"


@given(st.lists(st.lists(st.floats(0, 100), max_size=4), min_size=1, max_size=4))
def test_seeds_of_several_tables_are_pooled_as_if_one_had_them(parts: list[list[float]]) -> None:
    found = MERGE["pooled"]([line("row", part) for part in parts])
    values = [value for part in parts for value in part]
    assert found["seeds"] == str(len(values))
    assert bool(found["mean"]) == bool(values) and bool(found["sd"]) == (len(values) > 1)
    if values:
        assert float(found["mean"]) == pytest.approx(statistics.mean(values), abs=0.006)
    if len(values) > 1:
        assert float(found["sd"]) == pytest.approx(statistics.stdev(values), abs=0.006)


def test_rows_of_several_folders_become_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, less = (0, 80, 79, 88, 20.0), (2.5, 60, 70, 65, 9.5)
    one = table(tmp_path / "one.csv", {"recipe": recipe, "less": ()})
    other = table(tmp_path / "other.csv", {"recipe": (), "less": less})
    whole = table(tmp_path / "whole.csv", {"recipe": recipe, "less": less})
    benchmark(monkeypatch, "ablation_merge", tmp_path / "merged.csv", one, other)

    def figures(path: Path) -> list[tuple[str, str, float]]:
        with path.open(newline="", encoding="utf-8") as file:
            return [(x["row"], x["column"], float(x["mean"])) for x in csv.DictReader(file)]

    assert figures(tmp_path / "merged.csv") == figures(whole)


@pytest.mark.parametrize("name", ["glas", "synthetic"])
def test_what_is_measured_is_the_plans_table(name: str) -> None:
    plan = load_plan(name)
    found = {}
    for measured in MEASURED:
        if measured.stem.split("-")[0] == name:
            with measured.open(newline="", encoding="utf-8") as file:
                found |= {line["row"]: line["title"] for line in csv.DictReader(file)}
    assert found == {row: plan.rows[row].title for row in plan.tables["ablation"].rows}


@pytest.mark.parametrize("measured", MEASURED, ids=lambda path: path.stem)
def test_the_pages_show_what_is_measured(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark(monkeypatch, "ablation_table", measured)
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) > 20
    page = "history.md" if "-" in measured.stem else "results.md"  # of an earlier version
    assert shown in (ROOT / "docs" / page).read_text(encoding="utf-8")
