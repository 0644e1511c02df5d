"""The ablation as a Markdown table: what docs/results.md shows of docs/ablation/*.csv.

    python benchmarks/ablation_table.py docs/ablation/glas.csv

Takes what `wsol reproduce PLAN DATA --table ablation` or `ablation_merge.py` wrote; rows that are
not trained yet are left out, and one of fewer seeds than the first says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ablation_chart import COLUMNS, Row, read

HEADS = {
    "error": "error %",
    **{name: f"{title} %" for name, (title, _) in COLUMNS.items()},
    "epoch_seconds": "s an epoch",
}


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table's lines, the first row in bold."""
    first, *others = rows
    yield _line(["", *HEADS.values()])
    yield "|" + "---|" * (1 + len(HEADS))
    yield _line([f"**{first.title}**", *_cells(first)])
    for row in others:
        yield _line([row.name(first.seeds), *_cells(row)])


def _cells(row: Row) -> Iterator[str]:
    for name in HEADS:
        mean, spread = row.means.get(name), row.spreads.get(name)
        figures = [f"{x:.1f}" for x in (mean, spread) if x is not None]
        yield " ± ".join(figures)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, help="tables.csv of an ablation")
    print(*lines(read(parser.parse_args().tables)), sep="\n")


if __name__ == "__main__":
    main()
