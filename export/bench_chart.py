"""A benchmark as a chart."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.errors import MissingExtra, UsageError
from wsol_deploy.export.bench import Benchmark, Row

COLOURS = {"mask": "#0b6e4f", "all": "#9fb8ad"}
SUFFIXES = (".png", ".svg", ".pdf")


def draw(benchmark: Benchmark, path: Path) -> None:
    """Write bars of the latency of one image, a pair a file and device.

    Raises:
        UsageError: the path ends in none of .png, .svg, .pdf.
        MissingExtra: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: a chart is one of {', '.join(SUFFIXES)}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("The chart", "train") from error
    labels = list(dict.fromkeys(_label(row) for row in benchmark.rows))
    figure = Figure(figsize=(8, 1.2 + 0.55 * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    for row in benchmark.rows:
        at = labels.index(_label(row)) + (-0.2 if row.outputs == "mask" else 0.2)
        first = row is next(other for other in benchmark.rows if other.outputs == row.outputs)
        title = ("mask alone" if row.outputs == "mask" else "all outputs") if first else None
        axes.barh(at, row.latency_ms, height=0.38, color=COLOURS[row.outputs], label=title)
        ratio = f"  {row.speedup:.1f}x" if row.speedup else ""
        axes.text(row.latency_ms, at, f" {row.latency_ms:.0f} ms{ratio}", va="center", fontsize=8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"milliseconds an image (median), {benchmark.data}")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


def _label(row: Row) -> str:
    return f"{row.format}, {row.precision}, {row.device}"
