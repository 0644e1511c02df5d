"""Small pieces of HTML that the report is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np


def section(title: str, body: str, hint: str = "", level: int = 2) -> str:
    """A titled part of the page; nothing if its body is empty."""
    if not body:
        return ""
    small = f'<p class="hint">{escape(hint)}</p>' if hint else ""
    return f"<section><h{level}>{escape(title)}</h{level}>{small}{body}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """A table whose first column names the rows.

    Args:
        head: column titles, as text.
        rows: cells as markup, those of each row in the head's order.
        style: a class of the style sheet.
    """
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(_cell(cell) for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    return cell if cell.startswith("<td") else f"<td>{cell}</td>"


def columns(*parts: str) -> str:
    """Parts side by side where there is room."""
    return f'<div class="two">{"".join(part for part in parts if part)}</div>'


def folded(summary: str, body: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def definitions(items: Iterable[tuple[str, str]]) -> str:
    """Terms and what they mean, as text."""
    parts = (f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in items)
    return f"<dl>{''.join(parts)}</dl>"


def percent(value: float | None) -> str:
    """A fraction as percent with one decimal; a dash for None."""
    return "–" if value is None else f"{value * 100:.1f}"


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> str:
    """The confusion matrix (int64, c x c); a cell's shade is its share of the true class."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows = [
        [escape(name)]
        + [
            f'<td class="{"right" if row == column else "wrong"}" '
            f'style="--share:{shares[row, column]:.3f}" '
            f'title="{shares[row, column]:.1%} of {escape(name)}">{matrix[row, column]}</td>'
            for column in range(len(classes))
        ]
        for row, name in enumerate(classes)
    ]
    return table(["true \\ predicted", *classes], rows, style="confusion")
