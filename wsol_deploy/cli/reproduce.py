"""`wsol reproduce`: the paper's tables, every row trained by `wsol train`, beside the published."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from wsol_deploy.cli.options import Data, Quiet, TrainingDevice, Verbose

INTERRUPTED = 130


def reproduce(
    plan: Annotated[
        str,
        typer.Argument(
            help="glas, cub5, animals (or any folder with boxes.csv), synthetic, or a TOML file.",
            show_default=False,
        ),
    ],
    data: Data,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder for everything. Default: reproduce/PLAN.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="small (two cores) or paper (a GPU). Default: the plan's first.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row.")] = 1,
    first_seed: Annotated[
        int, typer.Option(min=0, help="The seed of each row's first training.")
    ] = 0,
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="As in 1, 2, 3, ablation; repeatable. Default: the plan's.", show_default=False
        ),
    ] = None,
    row: Annotated[
        list[str] | None,
        typer.Option(help="Work on this row only, as in cam-avg; repeatable.", show_default=False),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Of every row. Default: the budget's.", show_default=False)
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The backbone's start: imagenet, none, or a file.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A recipe's key=value, for every row; repeatable."),
    ] = None,
    device: TrainingDevice = "auto",
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Train what is missing, go on with what was cut off, write Tables 1 to 3 and a page.

    Examples:
      wsol reproduce glas glas/
      wsol reproduce glas glas/ --row cam-avg --row minmax-u4 --seeds 3
      wsol reproduce glas glas/ --seeds 2 --first-seed 3 -o more/
      wsol reproduce cub5 CUB_200_2011/ --budget paper --device cuda
    """
    from wsol_deploy.errors import MissingExtra, WsolError

    try:
        import wsol_deploy.train.loop  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Training", "train") from error
    from wsol_deploy.locks import alone
    from wsol_deploy.reproduce.document import MARKDOWN, PAGE
    from wsol_deploy.reproduce.execute import carry_out
    from wsol_deploy.reproduce.plan import load_plan
    from wsol_deploy.reproduce.study import prepare

    chosen = {"model.backbone": backbone, "model.weights": weights}
    flags = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    chart = load_plan(plan)
    study = prepare(
        chart,
        data,
        output or Path("reproduce") / Path(plan).stem,
        budget=budget or next(iter(chart.budgets)),
        seeds=seeds,
        first_seed=first_seed,
        tables=table or (),
        overrides=[*(set_ or []), *flags],
    )
    study.output.mkdir(parents=True, exist_ok=True)
    try:
        with alone(study.output, "wsol reproduce"):
            failures = carry_out(study, row or (), device, lambda words: _wsol(words, quiet))
    except KeyboardInterrupt:
        again = shlex.join(["wsol", *sys.argv[1:]])
        print(f"stopped; nothing is lost, go on with: {again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    print((study.output / MARKDOWN).read_text(encoding="utf-8"))
    print(f"page: {study.output / PAGE}", file=sys.stderr)
    if failures:
        (name, seed), reason = next(iter(failures.items()))
        raise WsolError(
            f"{len(failures)} of {len(study.jobs)} trainings failed, the first is {name} with "
            f"seed {seed}: {reason}"
        )


def _wsol(words: Sequence[str], quiet: bool) -> int:
    """Say a command and run it as if it were typed; its exit code."""
    from wsol_deploy.cli.app import app

    if not quiet:
        print(f"$ wsol {shlex.join(words)}", file=sys.stderr, flush=True)
    with redirect_stdout(sys.stderr):
        return app([*words, *(["-q"] if quiet else [])], standalone_mode=False) or 0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Make")(reproduce)
