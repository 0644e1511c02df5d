"""Where runs live and which file a name means.

A run is a folder: best.safetensors, last.safetensors, metrics.csv, recipe.toml, and
export/model.{onnx,torchscript,pt2} with proof.json once exported. data.txt says where the
training's data lies: it stays beside the checkpoints and out of every artifact.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

from wsol_deploy.artifacts import read_card
from wsol_deploy.errors import ArtifactError
from wsol_deploy.files import write_whole

logger = logging.getLogger(__name__)
BEST = "best.safetensors"
LAST = "last.safetensors"
DATA = "data.txt"
EXPORT_FOLDER = "export"
QUICKSTART = Path("quickstart/run")
ARTIFACTS = ("model.onnx", "model.torchscript", "model.pt2")


def root() -> Path:
    """The folder of all runs: `runs/`, or the environment's WSOL_RUNS."""
    return Path(os.environ.get("WSOL_RUNS", "runs"))


def newest() -> Path:
    """The run in `root()` whose best checkpoint is the newest, or the quickstart's.

    Raises:
        ArtifactError: there is no run yet.
    """
    run = _newest_in(root())
    if run is None and (QUICKSTART / BEST).is_file():
        logger.info("no run in %s yet: this is the quickstart's, %s", root(), QUICKSTART)
        return QUICKSTART
    if run is None:
        raise ArtifactError(
            f"{root()}: no run yet; train one with wsol train DATA or wsol quickstart, "
            "or name a model with --model"
        )
    return run


def resolve(model: str | Path | None, want: Literal["artifact", "checkpoint"]) -> Path:
    """The model file that `--model` means; said aloud if it was not named.

    Args:
        model: a run's folder or name, a file, or None for the newest run.
        want: `artifact` prefers a run's exported file, if it holds the best checkpoint's weights,
            and falls back to that checkpoint; `checkpoint` always takes the best checkpoint.

    Raises:
        ArtifactError: nothing of that name.
    """
    if model is None:
        place = newest()
    else:
        place = Path(model)
        if not place.exists() and (root() / place).is_dir():
            place = root() / place
    if place.is_file():
        return place
    if not place.is_dir():
        raise ArtifactError(f"{place}: no such run, checkpoint or artifact")
    folders = [place / EXPORT_FOLDER, place] if want == "artifact" else []
    exported = [folder / name for folder in folders for name in ARTIFACTS]
    for candidate in [*exported, place / BEST, place / LAST]:
        if candidate.is_file() and not _outdated(candidate, place / BEST):
            if model is None:
                logger.info("model: %s", candidate)
            return candidate
    below = _newest_in(place)
    hint = f"did you mean {below}?" if below else f"expected {BEST} or {EXPORT_FOLDER}/model.onnx"
    raise ArtifactError(f"{place}: no model in it; {hint}")


def _newest_in(folder: Path) -> Path | None:
    """The run in this folder whose best checkpoint is the newest."""
    found = [path.parent for path in folder.glob(f"*/{BEST}") if path.is_file()]
    return max(found, key=lambda run: (run / BEST).stat().st_mtime_ns, default=None)


def _outdated(exported: Path, best: Path) -> bool:
    """Whether the training went on after the export: the weights are not those of the best."""
    if exported == best or exported.name == LAST or not best.is_file():
        return False
    theirs, ours = (read_card(path).weights_sha256 for path in (exported, best))
    if theirs and ours and theirs != ours:
        logger.warning(
            "%s: older than %s, which is taken; wsol export renews it", exported, best.name
        )
        return True
    return False


def remember_data(folder: Path, data: Path) -> None:
    """Note in a run where its training's data lies."""
    write_whole(folder / DATA, os.fsencode(data.resolve()) + b"\n")


def data_of(model: Path) -> Path | None:
    """Where the data lies that a run's checkpoint or artifact was trained on, if it still does."""
    for folder in model.resolve().parents[:2]:
        if (folder / DATA).is_file():
            data = Path(os.fsdecode((folder / DATA).read_bytes().rstrip(b"\n")))
            return data if data.exists() else None
    return None
