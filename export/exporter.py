"""From a checkpoint to proved artifacts: convert, write aside, prove, keep or remove."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wsol_deploy import images, provenance, runtime
from wsol_deploy.artifacts import Format, format_of, read_card
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import ArtifactError, ProofFailed, WsolError
from wsol_deploy.export import formats, proof_data, report
from wsol_deploy.export.describe import describe, mask_rule
from wsol_deploy.export.options import Options
from wsol_deploy.export.proof import LIMITS, Proof
from wsol_deploy.export.prove import measure, prove
from wsol_deploy.export.reference import reference
from wsol_deploy.runs import EXPORT_FOLDER

if TYPE_CHECKING:
    from wsol_deploy.model.deploy import DeployedModel

logger = logging.getLogger(__name__)
CALIBRATION = 64
RUN_CODE = ("torchscript", "pt2")


@dataclass(frozen=True, slots=True)
class Exported:
    """An artifact that was kept, and its proof."""

    path: Path
    kind: Format
    proof: Proof


@dataclass(frozen=True, slots=True)
class _Source:
    """A checkpoint opened for export.

    Attributes:
        network: the checkpoint as it is.
        graph: what the formats with a graph hold: without batch normalisation, in fp16 if asked.
        card: of the artifacts, but for the proof.
        reference: the checkpoint in eager PyTorch, with its `metrics` on `data`.
        calibration: batches for int8, none for another precision.
    """

    network: DeployedModel
    graph: DeployedModel
    card: ModelCard
    options: Options
    reference: runtime.Predictor
    data: proof_data.ProofData
    metrics: dict[str, float]
    calibration: list[np.ndarray]


def export_model(
    checkpoint: Path,
    kinds: Sequence[Format],
    folder: Path | None = None,
    *,
    overwrite: bool = False,
    options: Options | None = None,
) -> list[Exported]:
    """Export a checkpoint and prove each artifact before it gets its name.

    Args:
        checkpoint: a safetensors checkpoint with its card.
        kinds: formats to write.
        folder: where model.onnx, model.torchscript, model.pt2, model.safetensors, proof.json and
            proof.md go; None for the folder `export` beside the checkpoint.
        overwrite: replace artifacts that are there.
        options: how.

    Raises:
        ArtifactError: the checkpoint cannot be used.
        UsageError: options that do not go together.
        WsolError: an artifact is there already, or a format cannot be had.
        ProofFailed: an artifact differs from PyTorch; it was not kept, the report stays.
    """
    options = options or Options()
    options.check(kinds)
    if format_of(checkpoint) != "safetensors":
        raise ArtifactError(f"{checkpoint}: is exported already; name its run or its checkpoint")
    folder = folder or checkpoint.parent / EXPORT_FOLDER
    stem = options.stem()
    targets = {kind: folder / f"{stem}{formats.SUFFIX_OF[kind]}" for kind in dict.fromkeys(kinds)}
    for path in targets.values():
        if path.exists() and not overwrite:
            raise WsolError(f"{path}: is there already; add --overwrite to replace it")
    source = _open(checkpoint, options)
    aside = folder / f".export-{os.getpid()}"
    aside.mkdir(parents=True, exist_ok=True)
    try:
        return [_export(source, kind, aside / path.name, path) for kind, path in targets.items()]
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _open(checkpoint: Path, options: Options) -> _Source:
    from wsol_deploy.export.fold import fold
    from wsol_deploy.export.half import halve
    from wsol_deploy.model.deploy import load_deployed

    network = load_deployed(checkpoint)
    graph = fold(network)
    card = read_card(checkpoint)
    data = proof_data.validation(card, checkpoint, options.proof_data)
    calibration = _calibration(card, checkpoint, options) if options.precision == "int8" else []
    logger.info("the proof's images: %s", data.name)
    eager = reference(checkpoint)
    metrics = measure(eager, data)
    described = describe(
        card,
        network.names,
        input=options.shape.describe(card.input),
        precision=options.precision,
        mask_rule=mask_rule(network.network),
        **options.words,
    )
    if options.precision == "float16":
        graph = halve(graph)
    return _Source(network, graph, described, options, eager, data, metrics, calibration)


def _export(source: _Source, kind: Format, aside: Path, target: Path) -> Exported:
    logger.info("%s: converting", target.name)
    write, explain = _convert(source, kind)
    write(aside, source.card)
    logger.info("%s: proving", target.name)
    artifact = runtime.load(aside, device="cpu", trust=True)
    limits = LIMITS[source.options.precision]
    proof = prove(source.reference, artifact, source.data, limits, source.metrics)
    proof.forced = bool(proof.failure) and source.options.force
    if proof.failure and not proof.forced:
        report.record(target, proof, None)
        raise ProofFailed(
            f"{target.name} was not kept: {proof.failure}{explain()}; the whole proof is "
            f"{target.with_name(report.REPORT)}"
        )
    write(aside, source.card.model_copy(update={"proof": proof.brief()}))
    _check_the_same(artifact, aside)
    digest = hashlib.sha256(aside.read_bytes()).hexdigest()
    aside.replace(target)
    if kind in RUN_CODE:
        provenance.remember(digest)
    report.record(target, proof, digest)
    logger.info("%s: %s", target.name, proof.summary)
    return Exported(target, kind, proof)


def _convert(source: _Source, kind: Format) -> tuple[formats.Writer, Callable[[], str]]:
    """What writes the artifact, and what explains why it failed its proof."""
    options = source.options
    if kind == "safetensors":
        return formats.convert(kind, source.network, options.shape), str
    if kind != "onnx" or not (options.simplify or options.precision == "int8"):
        return formats.convert(kind, source.graph, options.shape), str
    from wsol_deploy.export import int8, onnx_format, slim

    graph = onnx_format.graph(source.graph, options.shape)
    if options.simplify:
        graph = slim.simplify(graph, options.shape)
    if options.precision != "int8":
        return onnx_format.writer(graph), str
    logger.info("quantising with %d training images", len(source.calibration))
    quantised = int8.quantise(graph, source.calibration, options.keep_float)
    return onnx_format.writer(quantised), lambda: int8.advice(graph, source.calibration)


def _calibration(card: ModelCard, checkpoint: Path, options: Options) -> list[np.ndarray]:
    pictures = proof_data.training(card, checkpoint, options.proof_data).pictures
    size = options.shape.describe(card.input).size
    return [
        np.stack([images.fit(picture.read(), size)] * (options.shape.batch or 1))
        for picture in proof_data.spread(pictures, CALIBRATION)
    ]


def _check_the_same(proved: runtime.Predictor, path: Path) -> None:
    """Whether the file with the proof in its card is still what was proved."""
    final = runtime.load(path, device="cpu", trust=True)
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    batch = final.prepare(noise)[None]
    before, after = proved.run(batch), final.run(batch)
    if not all(np.array_equal(before[name], after[name]) for name in before):
        raise ProofFailed(f"{path.name} was not kept: it changed when its proof was put into it")
