"""The ablation as a chart: what each row of tables.csv gains or loses beside its first row.

    python benchmarks/ablation_chart.py reproduce/glas/tables.csv chart.png
    python benchmarks/ablation_chart.py docs/ablation/glas.csv docs/images/ablation-glas.png

Takes what `wsol reproduce PLAN DATA --table ablation` wrote, of one table; rows that are not
trained yet are left out. A bar is the change in percent points, with the standard deviation over
the seeds where there are several (a row of fewer than the first says so); what stands at the right
is the error and an epoch's seconds.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from matplotlib.figure import Figure

COLUMNS = {
    "f1_plus": ("F1+", "#0b6e4f"),
    "f1_minus": ("F1-", "#7fb69a"),
    "pxap": ("PxAP", "#d08c2e"),
}
THICK = 0.26
WIDE = 44  # characters of a title in one line
HEAD = "error, an epoch"


@dataclass(frozen=True)
class Row:
    """One training or more: column to mean, and to the standard deviation over its seeds."""

    title: str
    seeds: int
    means: dict[str, float]
    spreads: dict[str, float]

    @property
    def facts(self) -> str:
        error, seconds = self.means["error"], self.means.get("epoch_seconds")
        return f"{error:.1f} %" + ("" if seconds is None else f"   {seconds:.0f} s")

    def name(self, seeds: int) -> str:
        """The title, and that there are fewer seeds than these if so."""
        return self.title + ("" if self.seeds >= seeds else f" ({self.seeds} of {seeds} seeds)")


def read(path: Path) -> list[Row]:
    """The rows that have figures, in the table's order.

    Raises:
        SystemExit: none has.
    """
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["mean"]]
    rows = []
    for name in dict.fromkeys(line["row"] for line in lines):
        own = [line for line in lines if line["row"] == name]
        means = {line["column"]: float(line["mean"]) for line in own}
        spreads = {line["column"]: float(line["sd"]) for line in own if line["sd"]}
        if {"error", *COLUMNS} <= means.keys():
            rows.append(Row(own[0]["title"], int(own[0]["seeds"]), means, spreads))
    if not rows:
        raise SystemExit(f"{path}: no row has figures yet")
    return rows


def draw(rows: list[Row], path: Path) -> None:
    """Write bars beside the first row."""
    first, *others = rows
    figure = Figure(figsize=(10, 1.6 + 0.4 * len(others)), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, (title, colour)) in enumerate(COLUMNS.items()):
        at = [number + (place - 1) * THICK for number in range(len(others))]
        change = [row.means[name] - first.means[name] for row in others]
        spread = [row.spreads.get(name, 0.0) for row in others]
        bars = {"xerr": spread, "error_kw": {"elinewidth": 0.8}} if any(spread) else {}
        label = f"{title} ({first.means[name]:.1f})"
        axes.barh(at, change, height=THICK, color=colour, label=label, **bars)
        if name in first.spreads:
            reach = first.spreads[name]
            axes.axvspan(-reach, reach, color=colour, alpha=0.08, linewidth=0)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(others)), [fill(row.name(first.seeds), WIDE) for row in others])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(others) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(f"percent points gained or lost beside {first.title} ({first.facts})")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    axes.text(1.01, 1.01, HEAD, transform=axes.transAxes, fontsize=8, va="bottom")
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(others)), [row.facts for row in others])
    right.tick_params(length=0, labelsize=8)
    right.spines["right"].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, help="tables.csv of an ablation")
    parser.add_argument("chart", type=Path, help=".png, .svg or .pdf")
    given = parser.parse_args()
    draw(read(given.tables), given.chart)


if __name__ == "__main__":
    main()
