"""The page: tables beside the published figures, pictures side by side; one file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from wsol_deploy.evaluation.markup import definitions, folded, section
from wsol_deploy.evaluation.markup import table as markup_table
from wsol_deploy.reproduce.plan import Plan
from wsol_deploy.reproduce.tables import Filled
from wsol_deploy.reproduce.writing import beside, heads

HINT = "Test images chosen evenly by name, first seed, each method at its own fitted threshold."
RUNS = ("", "seed", "recipe, method", "epochs", "minutes", "threshold", "fitted on")
LEGENDS = {
    "masks": (("hit", "found"), ("false", "found, not there"), ("missed", "missed")),
    "boxes": (("hit", "found"), ("false", "box found"), ("box", "true box")),
}


def page(
    title: str,
    facts: Sequence[tuple[str, str]],
    tables: Sequence[Filled],
    figure: str,
    runs: Iterable[Sequence[str]],
    plan: Plan,
) -> str:
    """One self-contained HTML page.

    Args:
        title: of the page.
        facts: what was run, as name and value.
        tables: filled.
        figure: markup of the pictures.
        runs: cells of `RUNS`, a line for each training done.
        plan: that was carried out.
    """
    body = [
        _heading(title, facts),
        *(_table(one, plan.published) for one in tables),
        section("Side by side", _legend(plan.truth) + figure, HINT) if figure else "",
        _runs(runs),
        folded("What the columns mean", definitions(_meanings(tables))),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )


def _style() -> str:
    sheets = (("wsol_deploy.evaluation", "report.css"), ("wsol_deploy.reproduce", "page.css"))
    return "".join(resources.files(room).joinpath(name).read_text("utf-8") for room, name in sheets)


def _heading(title: str, facts: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<li><b>{escape(k)}</b>{escape(v)}</li>" for k, v in facts)
    return f'<header><h1>{escape(title)}</h1><ul class="facts">{items}</ul></header>'


def _table(filled: Filled, published: str) -> str:
    texts = [beside(line.cells, filled.has_published) for line in filled.lines]
    ours = [title != published for title in heads(filled, published)]
    rows = [
        [
            _name(line.title, line.gap),
            *(
                f'<td class="{"value" if own else "faint"}">{escape(text)}</td>'
                for text, own in zip(cells, ours, strict=True)
            ),
        ]
        for line, cells in zip(filled.lines, texts, strict=True)
    ]
    body = markup_table(["", *heads(filled, published)], rows, style="narrow")
    return section(filled.title, body, filled.note)


def _name(title: str, gap: str) -> str:
    return escape(title) + (f' <small class="gap">{escape(gap)}</small>' if gap else "")


def _runs(runs: Iterable[Sequence[str]]) -> str:
    rows = [[escape(cell) for cell in run] for run in runs]
    return folded("The trainings", markup_table(RUNS, rows, style="narrow")) if rows else ""


def _legend(truth: str) -> str:
    keys = LEGENDS[truth]
    spans = "".join(f'<span><i class="key {key}"></i>{text}</span>' for key, text in keys)
    return f'<p class="legend hint">{spans}</p>'


def _meanings(tables: Iterable[Filled]) -> list[tuple[str, str]]:
    return list({c.title: c.meaning for table in tables for c in table.columns}.items())
