"""From a checkpoint to proved artifacts: convert, write aside, prove, keep or remove."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from wsol_deploy import runtime
from wsol_deploy.artifacts import SUFFIXES, Format, read_card
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import ProofFailed, WsolError
from wsol_deploy.export import formats, proof_cases
from wsol_deploy.export.describe import describe
from wsol_deploy.export.proof import Proof, Run, compare
from wsol_deploy.model.deploy import DeployedModel, load_deployed
from wsol_deploy.runs import EXPORT_FOLDER

logger = logging.getLogger(__name__)
REPORT = "proof.json"
PICTURES = 4


@dataclass(frozen=True, slots=True)
class Exported:
    """An artifact that was kept, and its proof."""

    path: Path
    kind: Format
    proof: Proof


def export_model(
    checkpoint: Path,
    kinds: Sequence[Format],
    folder: Path | None = None,
    *,
    overwrite: bool = False,
) -> list[Exported]:
    """Export a checkpoint and prove each artifact before it gets its name.

    Args:
        checkpoint: a safetensors checkpoint with its card.
        kinds: formats to write.
        folder: where model.onnx, model.torchscript, model.pt2, model.safetensors and proof.json
            go; None for the folder `export` beside the checkpoint.
        overwrite: replace artifacts that are there.

    Raises:
        ArtifactError: the checkpoint cannot be used.
        WsolError: an artifact is there already, or a format cannot be had.
        ProofFailed: an artifact differs from PyTorch; it was removed, the report stays.
    """
    folder = folder or checkpoint.parent / EXPORT_FOLDER
    suffix_of = {kind: suffix for suffix, kind in SUFFIXES.items()}
    targets = {kind: folder / f"model{suffix_of[kind]}" for kind in dict.fromkeys(kinds)}
    for path in targets.values():
        if path.exists() and not overwrite:
            raise WsolError(f"{path}: is there already; add --overwrite to replace it")
    model = load_deployed(checkpoint)
    card = describe(read_card(checkpoint), model.names)
    pictures = proof_cases.synthetic(PICTURES)
    cases = list(proof_cases.cases(pictures))
    aside = folder / f".export-{os.getpid()}"
    aside.mkdir(parents=True, exist_ok=True)
    try:
        return [
            _export(model, card, kind, aside / path.name, path, cases)
            for kind, path in targets.items()
        ]
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _export(
    model: DeployedModel,
    card: ModelCard,
    kind: Format,
    aside: Path,
    target: Path,
    cases: Sequence[proof_cases.Case],
) -> Exported:
    logger.info("%s: converting", target.name)
    write = formats.convert(kind, model)
    write(aside, card)
    logger.info("%s: proving against PyTorch", target.name)
    artifact = runtime.load(aside, device="cpu", outputs=model.names, trust=True)
    found = compare(
        eager(model),
        artifact.run,
        cases,
        threshold=card.threshold.value,
        images="synthetic micrographs",
    )
    if not found.passed:
        target.unlink(missing_ok=True)
        _record(target, found, None)
        name, apart = found.worst
        raise ProofFailed(
            f"{target.name} was not kept: {name} differs from PyTorch by {apart.max:.1e} on "
            f"{apart.worst}; the report is {target.with_name(REPORT)}"
        )
    write(aside, card.model_copy(update={"proof": found.to_dict()}))
    digest = hashlib.sha256(aside.read_bytes()).hexdigest()
    aside.replace(target)
    _record(target, found, digest)
    logger.info("%s: %s", target.name, found.summary)
    return Exported(target, kind, found)


def eager(model: DeployedModel) -> Run:
    """The model in PyTorch, on the CPU, as arrays by name."""

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = model(torch.from_numpy(batch))
        return {
            name: value.float().numpy() for name, value in zip(model.names, outputs, strict=True)
        }

    return run


def _record(target: Path, found: Proof, digest: str | None) -> None:
    """Add one artifact to the folder's report; what failed has no sha256."""
    report = target.with_name(REPORT)
    entries = json.loads(report.read_text("utf-8")) if report.is_file() else {}
    entries[target.name] = {**found.to_dict(), **({"sha256": digest} if digest else {})}
    report.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")
