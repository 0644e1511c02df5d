"""An evaluation as a table: rich on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import sys

from wsol_deploy.evaluation.metrics import DEFINITIONS
from wsol_deploy.evaluation.results import Evaluation


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the metrics in percent, each beside the constant rows, then the notes."""
    head = ["%", "model", "95 % interval", *evaluation.baselines]
    rows = [_row(evaluation, name) for name in evaluation.metrics]
    if sys.stdout.isatty():
        _print_rich(head, rows)
    else:
        _print_plain(head, rows)
    print(f"{len(evaluation.images)} images, threshold {evaluation.threshold:g}")
    for note in evaluation.notes:
        print(f"note: {note}")


def _row(evaluation: Evaluation, name: str) -> list[str]:
    metric = evaluation.metrics[name]
    between = ""
    if metric.low is not None and metric.high is not None:
        between = f"{metric.low * 100:.1f} to {metric.high * 100:.1f}"
    others = (values.get(name) for values in evaluation.baselines.values())
    constants = ["-" if value is None else f"{value * 100:.2f}" for value in others]
    return [DEFINITIONS[name].title, f"{metric.value * 100:.2f}", between, *constants]


def _print_plain(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    for first, *others in [head, *rows]:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))


def _print_rich(head: list[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column, title in enumerate(head):
        table.add_column(
            title, justify="right" if column else "left", style="bold" if column == 1 else None
        )
    for row in rows:
        table.add_row(*row)
    Console().print(table)
