"""`wsol export`: a checkpoint as files that run anywhere, each proved against PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wsol_deploy.cli.options import Quiet, Trained, Verbose

FORMATS = "onnx, torchscript, pt2 or safetensors; repeatable."
SHAPE, PRECISION, CARD = "Fixed shapes", "Precision", "Written into the card"


def export(
    model: Trained = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--format", help=FORMATS, show_default="onnx")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the artifacts. Default: export/ in the run."
        ),
    ] = None,
    proof_data: Annotated[
        Path | None,
        typer.Option(help="Images to prove on. Default: the training's validation images."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="fp16 inside.", rich_help_panel=PRECISION)
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="8-bit ONNX, kept if 99 % of the labels agree and F1+ and F1- fall by at most 0.5 "
            "points.",
            rich_help_panel=PRECISION,
        ),
    ] = False,
    keep_float: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER", help="Leave it out of --int8; repeatable.", rich_help_panel=PRECISION
        ),
    ] = None,
    force_int8: Annotated[
        bool,
        typer.Option(
            "--force-int8", help="Keep int8 whatever it loses.", rich_help_panel=PRECISION
        ),
    ] = False,
    simplify: Annotated[
        bool, typer.Option("--simplify", help="Try onnxslim; keep it where it is faster.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Fix N (TensorRT, mobile).", rich_help_panel=SHAPE)
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Fix H and W.", rich_help_panel=SHAPE)
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a model repository for Triton, too."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="Of the weights.", rich_help_panel=CARD)
    ] = None,
    author: Annotated[str | None, typer.Option(rich_help_panel=CARD)] = None,
    description: Annotated[str | None, typer.Option(rich_help_panel=CARD)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace artifacts that are there.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Export a model and prove that the file gives what PyTorch gives.

    Example: wsol export --format onnx --format torchscript
    """
    from wsol_deploy.artifacts import SUFFIXES, read_card
    from wsol_deploy.errors import MissingExtra, UsageError
    from wsol_deploy.export import Options, Shape, export_model
    from wsol_deploy.export.formats import parse
    from wsol_deploy.export.triton import PLATFORMS, model_folder, write_repository
    from wsol_deploy.runs import resolve

    if half and int8:
        raise UsageError("--half and --int8: choose one")
    if output is not None and output.suffix.lower() in SUFFIXES:
        raise UsageError(f"-o {output}: name a folder, as in -o {output.with_suffix('')}")
    words = {"licence": licence, "author": author, "description": description}
    options = Options(
        precision="int8" if int8 else "float16" if half else "float32",
        shape=Shape.parse(batch_size, image_size),
        simplify=simplify,
        keep_float=tuple(keep_float or ()),
        force=force_int8,
        proof_data=proof_data,
        words={name: text for name, text in words.items() if text is not None},
    )
    chosen = [parse(name) for name in kinds or ["onnx"]]
    if triton is not None and not {"onnx", "torchscript"} & set(chosen):
        raise UsageError("--triton needs --format onnx or torchscript")
    checkpoint = resolve(model, want="checkpoint")
    if triton is not None:
        model_folder(read_card(checkpoint), triton, overwrite=overwrite)
    try:
        done = export_model(checkpoint, chosen, output, overwrite=overwrite, options=options)
    except ImportError as error:
        raise MissingExtra("Exporting", "train") from error
    for exported in done:
        print(exported.path)
    if triton is not None:
        loadable = next(exported for exported in done if exported.kind in PLATFORMS)
        print(write_repository(loadable.path, triton, overwrite=overwrite))
    if not quiet:
        print(f"next: wsol predict IMAGES -o masks/ -m {done[0].path}", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Make")(export)
