"""Curves of the report as inline SVG, coloured by the page's variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 40
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Line:
    """A curve in the unit square.

    Attributes:
        x, y: float, n in [0, 1].
        name: in the legend and the tooltip.
        style: a class of the style sheet: `c1`, `c2`, `c3` or `base` (dashed).
    """

    x: np.ndarray
    y: np.ndarray
    name: str
    style: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled point, or with `y` None a labelled upright line."""

    x: float
    y: float | None
    name: str


def line_chart(lines: Sequence[Line], marks: Sequence[Mark], x_title: str, y_title: str) -> str:
    """Curves over the unit square as SVG, with a legend."""
    body = [_grid(), _axis_titles(x_title, y_title)]
    body += [_curve(line) for line in lines]
    body += [_mark(mark) for mark in marks]
    legend = "".join(
        f'<span><i class="key {line.style}"></i>{escape(line.name)}</span>' for line in lines
    )
    label = escape(f"{y_title} by {x_title}")
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'{"".join(body)}</svg><figcaption class="legend">{legend}</figcaption></figure>'
    )


def _at(x: float, y: float) -> tuple[float, float]:
    across = LEFT + x * (WIDTH - LEFT - RIGHT)
    down = HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)
    return round(float(across), 1), round(float(down), 1)


def _grid() -> str:
    parts = []
    for tick in TICKS:
        (x0, y), (x1, _) = _at(0, tick), _at(1, tick)
        parts.append(f'<line class="grid" x1="{x0}" x2="{x1}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{x0 - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>'
        )
        x, bottom = _at(tick, 0)
        parts.append(
            f'<text class="tick" x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
        )
    return "".join(parts)


def _axis_titles(x_title: str, y_title: str) -> str:
    x, y = _at(0.5, 0.5)
    places = (
        (f'x="{x}" y="{HEIGHT - 6}"', x_title),
        (f'transform="translate(11 {y}) rotate(-90)"', y_title),
    )
    return "".join(
        f'<text class="title" text-anchor="middle" {place}>{escape(title)}</text>'
        for place, title in places
    )


def _curve(line: Line) -> str:
    points = " ".join(
        f"{x},{y}" for x, y in (_at(a, b) for a, b in zip(line.x, line.y, strict=True))
    )
    return (
        f'<polyline class="curve {line.style}" points="{points}">'
        f"<title>{escape(line.name)}</title></polyline>"
    )


def _mark(mark: Mark) -> str:
    x, low = _at(mark.x, 0)
    _, high = _at(mark.x, 1)
    anchor, shift = ("end", -6) if mark.x > 0.7 else ("start", 6)
    if mark.y is None:
        shape = f'<line class="mark" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'
        text_y = low - 8
    else:
        _, y = _at(mark.x, mark.y)
        shape = f'<circle class="point" cx="{x}" cy="{y}" r="4"/>'
        text_y = y - 8 if mark.y < 0.9 else y + 16
    label = (
        f'<text class="note" x="{x + shift}" y="{text_y}" '
        f'text-anchor="{anchor}">{escape(mark.name)}</text>'
    )
    return shape + label


def strip(
    value: float, low: float | None, high: float | None, others: Sequence[tuple[str, float]]
) -> str:
    """A metric on a 0 to 1 rule: a dot, its interval, and a tick for each baseline."""
    width, height = 200, 22

    def at(share: float) -> float:
        return round(4 + share * (width - 8), 1)

    parts = [f'<line class="rule" x1="4" x2="{width - 4}" y1="11" y2="11"/>']
    for name, other in others:
        parts.append(
            f'<line class="tickmark" x1="{at(other)}" x2="{at(other)}" y1="4" y2="18">'
            f"<title>{escape(name)} {other:.1%}</title></line>"
        )
    if low is not None and high is not None:
        parts.append(f'<line class="range" x1="{at(low)}" x2="{at(high)}" y1="11" y2="11"/>')
    parts.append(f'<circle class="point" cx="{at(value)}" cy="11" r="4.5"/>')
    box = f'viewBox="0 0 {width} {height}"'
    return f'<svg class="strip" {box} aria-hidden="true">{"".join(parts)}</svg>'
