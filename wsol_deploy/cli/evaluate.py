"""`wsol evaluate`: how good a model is, beside what knows nothing of the images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_deploy.cli.options import Data, Device, Json, Model, Quiet, Verbose

if TYPE_CHECKING:
    from wsol_deploy.evaluation.held_out import Selection
    from wsol_deploy.evaluation.report import Shown
    from wsol_deploy.evaluation.results import Evaluation
    from wsol_deploy.evaluation.run import Predictions
    from wsol_deploy.runtime import Predictor


def evaluate(
    data: Data,
    model: Model = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="auto, official, paper, stratified or hash. Default: as the model was trained.",
            show_default=False,
        ),
    ] = None,
    subset: Annotated[str, typer.Option(help="test, valid, train or all.")] = "test",
    seed: Annotated[
        int | None,
        typer.Option(help="Of the split. Default: the model's.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Of the soft mask. Default: the card's.", show_default=False
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with curves and pictures (HTML).")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet: best, median, worst (PNG).")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a row for each image, worst first.")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resampled copies for the 95 % intervals; 0 for none.")
    ] = 1000,
    device: Device = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images of one size at once.", show_default=False),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a TorchScript or .pt2 file of unknown origin.")
    ] = False,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Measure a model on held-out images: error, F1+, F1-, IoU, PxAP, boxes; beside baselines.

    Example: wsol evaluate data/ --report report.html
    """
    from wsol_deploy.errors import SomeImagesFailed
    from wsol_deploy.evaluation.evaluate import evaluate as measure
    from wsol_deploy.evaluation.held_out import select
    from wsol_deploy.evaluation.results import write_csv
    from wsol_deploy.evaluation.run import Predictions, open_model
    from wsol_deploy.files import check_writable
    from wsol_deploy.runs import resolve

    for path in filter(None, (report, sheet, csv)):
        check_writable(path)
    predictor = open_model(resolve(model, want="artifact"), device, trust=trust)
    chosen = select(data, predictor.card, subset=subset, split=split, seed=seed)
    _check_classes(data, chosen.dataset.classes, predictor)
    if not quiet:
        _announce(chosen)
    used = predictor.card.threshold.value if threshold is None else threshold
    predictions = Predictions(predictor, chosen.dataset.samples, batch_size)
    evaluation = measure(
        _watched(predictions, quiet), chosen.dataset.classes, used, copies=bootstrap
    )
    if csv is not None:
        write_csv(evaluation, csv)
    if report is not None or sheet is not None:
        from wsol_deploy.evaluation.run import gallery

        pictures = gallery(predictor, chosen.dataset, evaluation)
        if report is not None:
            _write_report(report, predictor, chosen, evaluation, pictures)
        if sheet is not None:
            _write_sheet(sheet, evaluation, pictures)
    if json:
        _print_json(predictor, chosen, evaluation, predictions.failed)
    else:
        from wsol_deploy.cli.metrics_view import print_evaluation

        print_evaluation(evaluation)
    if predictions.failed:
        raise SomeImagesFailed(
            f"{len(predictions.failed)} of {len(predictions)} images failed and are left out; "
            "see the lines above"
        )
    if not quiet:
        _say_next(data, model, report)


def _check_classes(data: Path, classes: Sequence[str], predictor: Predictor) -> None:
    from wsol_deploy.errors import DataError

    known = predictor.card.classes
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise DataError(
            f"{data}: has classes that {predictor.path} does not know: {', '.join(unknown)}; "
            f"it knows {', '.join(known)}; name the model of this data with -m"
        )


def _announce(chosen: Selection) -> None:
    typer.echo(f"{chosen.name}: {len(chosen.dataset)} images", err=True)
    if chosen.warning:
        typer.echo(f"warning: {chosen.warning}", err=True)


def _watched(predictions: Predictions, quiet: bool) -> Iterable:
    if quiet or not sys.stderr.isatty():
        return predictions
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(predictions, "evaluating", len(predictions), console=console, transient=True)


def _write_report(
    path: Path,
    predictor: Predictor,
    chosen: Selection,
    evaluation: Evaluation,
    pictures: dict[str, list[Shown]],
) -> None:
    from wsol_deploy.evaluation.report import write_report

    card = predictor.card
    own = evaluation.threshold == card.threshold.value
    facts = {
        "model": str(predictor.path),
        "method": card.method,
        "data": chosen.name,
        "images": str(len(evaluation.images)),
        "threshold": f"{evaluation.threshold:g}, {card.threshold.chosen_on if own else 'as asked'}",
        "trust limits": card.trust.calibrated_on,
        "warning": chosen.warning,
    }
    write_report(path, evaluation, pictures, f"{card.name} on {chosen.dataset.name}", facts)


def _write_sheet(path: Path, evaluation: Evaluation, pictures: dict[str, list[Shown]]) -> None:
    from wsol_deploy.evaluation.report import sheet_row
    from wsol_deploy.evaluation.sheet import contact_sheet

    shown = [one for group in ("best", "median", "worst") for one in pictures.get(group, [])[:2]]
    contact_sheet([sheet_row(one, evaluation.threshold) for one in shown], path)


def _print_json(
    predictor: Predictor, chosen: Selection, evaluation: Evaluation, failed: list[str]
) -> None:
    import json

    head = {
        "model": str(predictor.path),
        "method": predictor.card.method,
        "dataset": chosen.dataset.name,
        "subset": chosen.subset,
        "split": chosen.split,
        "seed": chosen.seed,
        "warning": chosen.warning,
        "failed": failed,
    }
    print(json.dumps({**head, **evaluation.as_dict()}, indent=2, ensure_ascii=False))


def _say_next(data: Path, model: str | None, report: Path | None) -> None:
    named = f" -m {model}" if model else ""
    if report is None:
        line = f"next: wsol evaluate {data}{named} --report report.html"
    else:
        line = f"the report is {report}\nnext: wsol predict IMAGES -o masks/{named}"
    typer.echo(line, err=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Make")(evaluate)
