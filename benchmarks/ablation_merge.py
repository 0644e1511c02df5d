"""One table of several: rows that were trained in different folders or on different machines.

    python benchmarks/ablation_merge.py merged.csv one/tables.csv another/tables.csv

Takes what `wsol reproduce` wrote. Where a row has figures in several tables they must be of
different seeds: means and standard deviations are pooled as if one command had trained them all.
"""

from __future__ import annotations

import argparse
import csv
from math import sqrt
from pathlib import Path

from wsol_deploy.reproduce.writing import HEAD

Line = dict[str, str]
DIGITS = 4


def merged(tables: list[list[Line]]) -> list[Line]:
    """Every row and column once, in the order of the first table that has it."""
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in (line for table in tables for line in table):
        groups.setdefault((line["table"], line["row"], line["column"]), []).append(line)
    return [pooled(lines) for lines in groups.values()]


def pooled(lines: list[Line]) -> Line:
    """The mean of all seeds, and their standard deviation where there are two or more."""
    found = [line for line in lines if line["mean"]]
    if not found:
        return lines[0]
    counts = [int(line["seeds"]) for line in found]
    means = [float(line["mean"]) for line in found]
    total = sum(counts)
    mean = sum(n * m for n, m in zip(counts, means, strict=True)) / total
    squares = sum(
        (n - 1) * float(line["sd"] or 0) ** 2 + n * (m - mean) ** 2
        for line, n, m in zip(found, counts, means, strict=True)
    )
    spread = str(round(sqrt(squares / (total - 1)), DIGITS)) if total > 1 else ""
    whole = {"mean": str(round(mean, DIGITS)), "sd": spread, "seeds": str(total), "gap": ""}
    return lines[0] | whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("merged", type=Path, help="the table to write")
    parser.add_argument("tables", type=Path, nargs="+", help="tables.csv of each folder")
    given = parser.parse_args()
    tables = []
    for path in given.tables:
        with path.open(newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    with given.merged.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEAD, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged(tables))


if __name__ == "__main__":
    main()
