"""Tables as Markdown, to be read, and as CSV, a line for each figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from wsol_deploy.reproduce.tables import Cell, Filled

HEAD = ("table", "row", "title", "column", "mean", "sd", "seeds", "published", "gap")


def as_markdown(
    title: str, facts: Sequence[tuple[str, str]], tables: Iterable[Filled], who: str
) -> str:
    """The tables under a heading.

    Args:
        title: of the document.
        facts: what was run, as name and value.
        tables: filled.
        who: published the figures beside.
    """
    parts = [f"# {title}", "\n".join(f"- {name}: {value}" for name, value in facts)]
    for table in tables:
        parts += [f"## {table.title}", "\n".join(_lines(table, who))]
        parts += [table.note] if table.note else []
        gaps = [f"- {line.title}: {line.gap}" for line in table.lines if line.gap]
        parts += ["\n".join(gaps)] if gaps else []
    return "\n\n".join(parts) + "\n"


def as_csv(tables: Iterable[Filled]) -> str:
    """One line for each figure; empty cells for what was not measured or published."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for table in tables:
        for line in table.lines:
            for name, cell in zip(table.names, line.cells, strict=True):
                figures = (cell.mean, cell.sd, len(cell.values), cell.published)
                writer.writerow([table.name, line.row, line.title, name, *figures, line.gap])
    return text.getvalue()


def heads(table: Filled, who: str) -> list[str]:
    """Titles of the columns, each with one for the published figures beside it if it has any."""
    pairs = zip(table.columns, table.has_published, strict=True)
    return [title for column, has in pairs for title in [column.title, *([who] if has else [])]]


def beside(cells: Sequence[Cell], has_published: Sequence[bool]) -> list[str]:
    """The cells' texts in the order of `heads`."""
    pairs = zip(cells, has_published, strict=True)
    return [t for cell, has in pairs for t in [cell.text, *([cell.published_text] if has else [])]]


def _lines(table: Filled, who: str) -> Iterable[str]:
    titles = ["", *heads(table, who)]
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for line in table.lines:
        name = f"{line.title} *" if line.gap else line.title
        yield f"| {' | '.join([name, *beside(line.cells, table.has_published)])} |"
