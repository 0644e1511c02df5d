"""`wsol predict`: masks for files, folders and globs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wsol_deploy.cli.options import Device, Model, Quiet, Verbose
from wsol_deploy.cli.predict_options import (
    Address,
    EngineName,
    Level,
    Mpp,
    Overlap,
    SkipBackground,
    Tile,
    TileAbove,
    Workers,
)

if TYPE_CHECKING:
    from wsol_deploy.batch.destination import Output
    from wsol_deploy.batch.engines import Engine
    from wsol_deploy.batch.options import Options
    from wsol_deploy.batch.run import AnySources, Summary
    from wsol_deploy.runtime import Predictor

OF_ONE = {
    "--model", "--threshold", "--min-area", "--fill-holes", "--smooth", "--device", "--threads",
    "--trust", "--verbose", "--quiet",
}  # fmt: skip
SAVE_HELP = (
    "mask, prob, overlay, heatmap, cutout, geojson, labelme, yolo (files an image); class-mask "
    "(of a multi-label model, a file a class found); coco, csv, jsonl, parquet (tables). "
    "Repeatable. Default: mask and jsonl."
)


def predict(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders (all levels), globs, s3:// and other URLs; - for standard input.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder to write to, or its URL: s3://bucket/masks and others.",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    save: Annotated[list[str] | None, typer.Option(help=SAVE_HELP, show_default=False)] = None,
    instances: Annotated[
        bool, typer.Option("--instances", help="A table with a row a component as well.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Of the soft mask. Default: the card's.", show_default=False
        ),
    ] = None,
    min_area: Annotated[int, typer.Option(min=0, help="Drop regions of fewer pixels.")] = 0,
    fill_holes: Annotated[bool, typer.Option("--fill-holes", help="Close holes.")] = False,
    smooth: Annotated[
        float, typer.Option(min=0, help="Sigma in pixels of a blur before the threshold.")
    ] = 0.0,
    device: Device = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images at once. Default: 1 on a CPU, 8 on a GPU."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the model. Default: all cores.")
    ] = None,
    tile_above: TileAbove = None,
    tile: Tile = 768,
    overlap: Overlap = 192,
    level: Level = None,
    mpp: Mpp = None,
    skip_background: SkipBackground = False,
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep going as files arrive, until Ctrl-C.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do again what is done already.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a TorchScript or .pt2 file of unknown origin.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write masks, labels and trust for every image; killed and started again, it goes on.

    Example: wsol predict photos/ -o out/ --save mask --save overlay --save csv
    """
    from wsol_deploy.batch.cloud import find
    from wsol_deploy.batch.destination import destination
    from wsol_deploy.batch.engines import LocalEngine
    from wsol_deploy.batch.options import DEFAULT_SAVE, Options
    from wsol_deploy.batch.run import open_model
    from wsol_deploy.errors import SomeImagesFailed, UsageError
    from wsol_deploy.machine import cores
    from wsol_deploy.runs import resolve
    from wsol_deploy.runtime.large import Scale
    from wsol_deploy.runtime.postprocess import PostProcess
    from wsol_deploy.runtime.predictor import MAX_GRAPH_PIXELS
    from wsol_deploy.runtime.tiles import Tiling

    one = sources == ["-"]
    if "-" in sources and not one:
        raise UsageError("- reads one image from standard input: give no other source")
    if one:
        _check_one(context)
    if output is None:
        if not one:
            raise UsageError("--output is missing: name the folder to write to, as in -o masks/")
        output = "."
    options = Options(
        save=("mask",) if one else tuple(save or DEFAULT_SAVE),
        instances=instances,
        threshold=threshold,
        post=PostProcess(smooth, fill_holes, min_area),
        batch_size=batch_size,
        tile_above=tile_above or MAX_GRAPH_PIXELS,
        tiling=Tiling(tile, overlap),
        scale=Scale(level, mpp),
        skip_background=skip_background,
    )
    path = resolve(model, want="artifact")
    if one:
        predictor = open_model(
            path, options, output, device=device, threads=threads or cores(), trust=trust
        )
        _standard_input(predictor, options)
        return
    place = destination(output)
    found = find(sources, place)
    _check_cluster(engine, address, workers, watch)
    _check_cloud(found, place, options, watch)
    runs: Engine
    if engine == "ray":
        from wsol_deploy.batch.ray_engine import RayEngine

        runs = RayEngine(
            path, address=address, workers=workers, device=device, threads=threads, trust=trust
        )
    else:
        near = None if watch else found
        runs = LocalEngine(
            open_model(
                path, options, place, device=device, threads=threads, trust=trust, sources=near
            )
        )
    summary = _run(runs, found, place, options, overwrite, watch, quiet)
    _say_next(summary, model)
    if summary.interrupted:
        raise KeyboardInterrupt
    if summary.failed:
        raise SomeImagesFailed(
            f"{_images(summary.failed)} failed, {summary.images} done; {output}/failed.csv says why"
        )


def _check_cluster(engine: str, address: str | None, workers: int | None, watch: bool) -> None:
    from wsol_deploy.errors import UsageError

    if engine not in ("local", "ray"):
        raise UsageError(f"--engine {engine}: no such engine; known: local, ray")
    if engine == "local" and (address or workers):
        raise UsageError("--address and --workers are of a cluster: add --engine ray")
    if engine == "ray" and watch:
        raise UsageError("--watch is for this machine; leave out --engine ray")


def _check_cloud(found: AnySources, output: Output, options: Options, watch: bool) -> None:
    from wsol_deploy.batch.sources import Sources
    from wsol_deploy.errors import UsageError

    if isinstance(output, str) and "labelme" in options.save:
        raise UsageError("--save labelme links to images beside it: -o must be a folder, not a URL")
    if isinstance(found, Sources):
        return
    if watch:
        raise UsageError("--watch is for folders of this machine, not for URLs")
    linked = [name for name in options.save if name in ("labelme", "yolo")]
    if linked:
        raise UsageError(f"--save {linked[0]} needs the images on this machine, not at URLs")


def _check_one(context: typer.Context) -> None:
    """Refuse, beside -, what is about folders, several images or tiles."""
    from wsol_deploy.errors import UsageError

    options = [one for one in context.command.params if one.param_type_name == "option"]
    foreign = [option for option in options if not OF_ONE & {*option.opts}]
    sources = [context.get_parameter_source(option.name or "") for option in foreign]
    unread = [
        option.opts[0]
        for option, source in zip(foreign, sources, strict=True)
        if source is not None and source.name == "COMMANDLINE"
    ]
    if unread:
        raise UsageError(f"- writes one mask to standard output: leave {', '.join(unread)} out")


def _standard_input(predictor: Predictor, options: Options) -> None:
    import sys

    from wsol_deploy import images
    from wsol_deploy.runtime import render

    pixels = images.read(sys.stdin.buffer.read())
    prediction = predictor.predict(pixels, threshold=options.threshold, post=options.post)
    sys.stdout.buffer.write(render.png(render.mask_pixels(prediction.mask)))
    sys.stdout.buffer.flush()


def _run(
    engine: Engine,
    found: AnySources,
    output: Output,
    options: Options,
    overwrite: bool,
    watch: bool,
    quiet: bool,
) -> Summary:
    import logging

    from wsol_deploy.batch.interrupt import interruptible
    from wsol_deploy.batch.progress import progress
    from wsol_deploy.batch.run import run_on

    logger = logging.getLogger("wsol_deploy")
    with interruptible() as stop, progress(found, watch or quiet) as notice:
        summary = run_on(
            engine,
            found,
            output,
            options,
            overwrite=overwrite,
            watch=watch,
            stop=stop,
            notice=notice,
        )
    logger.info(
        "%s: %s, %d of them new, %d failed, %s, on %s",
        output,
        _images(summary.images),
        summary.new,
        summary.failed,
        _to_review(summary, options),
        engine.device,
    )
    return summary


def _to_review(summary: Summary, options: Options) -> str:
    if summary.to_review is None:
        return "not judged which to review (--save jsonl does)"
    table = "results.csv" if "csv" in options.save else "results.jsonl"
    return f"{summary.to_review} to review" + f" (why: {table})" * bool(summary.to_review)


def _say_next(summary: Summary, model: str | None) -> None:
    import logging

    logger = logging.getLogger("wsol_deploy")
    if summary.interrupted:
        logger.info("The same command goes on.")
    elif summary.images:
        logger.info("next: wsol demo%s", f" -m {model}" if model else "")


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Use")(predict)
