"""`wsol benchmark`: how fast, how large and how good each exported file is, beside PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_deploy.cli.options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from wsol_deploy.export.bench import Benchmark, Row

METRICS = {"error": "error", "f1_plus": "F1+", "f1_minus": "F1-"}


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Files, or runs with all their exports. Default: the newest run.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Images. Default: the test images of the training's data."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="auto, cpu, cuda[:N], tensorrt[:N]; repeatable. Default: CPU and GPU."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the model. Default: all cores.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each measurement, at least.")] = 2.0,
    chart: Annotated[Path | None, typer.Option(help="Draw it: .png, .svg or .pdf.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open TorchScript and .pt2 files of unknown origin.")
    ] = False,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Measure latency, throughput, memory and quality of model files, each beside PyTorch.

    Example: wsol benchmark quickstart/run --chart speed.png
    """
    from wsol_deploy.export.bench import Settings, model_files
    from wsol_deploy.export.bench import benchmark as measure

    files = model_files(models or [])
    settings = Settings(data=data, threads=threads, seconds=seconds, trust=trust)
    result = measure(files, device or (), settings)
    if chart is not None:
        from wsol_deploy.export.bench_chart import draw

        draw(result, chart)
    if json:
        import json as writer

        print(writer.dumps(result.to_dict(), indent=2))
    else:
        _print(result)
    for reason in result.skipped:
        print(f"left out: {reason}", file=sys.stderr)
    if not quiet:
        fastest = min(result.rows, key=lambda row: row.latency_ms)
        print(f"next: wsol predict IMAGES -o masks/ -m {fastest.file}", file=sys.stderr)


def _print(result: Benchmark) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=result.data, title_justify="left")
    for column in ("file", "device", "outputs"):
        table.add_column(column, no_wrap=True)
    titles = ["open s", "ms", "p95", "img/s", "batch", "RAM MB", "file MB", *METRICS.values()]
    for column in [*titles, "x eager"]:
        table.add_column(column, justify="right", no_wrap=True)
    for row in result.rows:
        table.add_row(*_cells(row))
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160).print(table)


def _cells(row: Row) -> list[str]:
    metrics = [f"{100 * row.metrics[key]:.2f}" if key in row.metrics else "-" for key in METRICS]
    return [
        f"{Path(row.file).name}",
        row.device,
        row.outputs,
        f"{row.load_s:.2f}",
        f"{row.latency_ms:.1f}",
        f"{row.p95_ms:.1f}",
        f"{row.images_per_s:.1f}",
        str(row.batch),
        f"{row.memory_mb:.0f}",
        f"{row.size_mb:.1f}",
        *metrics,
        "-" if row.speedup is None else f"{row.speedup:.2f}",
    ]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Use")(benchmark)
