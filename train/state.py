"""What a run needs to go on as if it had never stopped.

`state.safetensors` is that of the epochs; `self-training.safetensors`, there only until it ends,
that of a self-training after the last of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from wsol_deploy.errors import ArtifactError
from wsol_deploy.model.checkpoint import write_tensors
from wsol_deploy.train.updates import Totals, Updater
from wsol_deploy.train.validation import Score

FILE = "state.safetensors"
TAUGHT = "self-training.safetensors"
KEY = "state"
VERSION = 1
MENDS = {FILE: "", TAUGHT: "; delete it, and self-training begins anew"}


@dataclass
class Position:
    """Where a training stands.

    Attributes:
        epoch: the current one, from 0.
        step: updates done in it.
        steps: updates done in all.
        best: score of the best whole epoch's checkpoint.
        best_epoch: epoch after which it was taken, from 0; -1 if none has ended yet.
        totals: of the current epoch so far.
        seconds: spent in it so far.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    best: Score | None = None
    best_epoch: int = -1
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """What a self-training holds to, and where it stands.

    Attributes:
        updates: of all of it.
        balanced: foreground and background of a mask weigh the same.
        share: what masks are to cover in the mean, in (0, 1); None to leave them as they are.
        ambiguity: of the masks before it, see `soft_masks.ambiguity`.
        done: updates so far, whole rounds.
    """

    updates: int
    balanced: bool
    share: float | None
    ambiguity: float
    done: int = 0


def save_state(folder: Path, updater: Updater, position: Position, data_sha256: str) -> None:
    """Write weights, optimizer, averaged weights and position, whole or not at all."""
    _save(folder / FILE, updater, {"position": asdict(position), "data_sha256": data_sha256})


def save_course(folder: Path, updater: Updater, course: Course, began_with: str) -> None:
    """The same in a self-training.

    Args:
        began_with: digest of the weights of the last epoch.
    """
    _save(folder / TAUGHT, updater, {"course": asdict(course), "began_with": began_with})


def _save(path: Path, updater: Updater, document: dict[str, Any]) -> None:
    tensors = {f"network.{k}": v for k, v in updater.network.state_dict().items()}
    if updater.average is not None:
        tensors |= {f"average.{k}": v for k, v in updater.average.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, slots in updater.optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
    if updater.scaler.is_enabled():
        numbers = updater.scaler.state_dict()
    document = document | {"version": VERSION, "scaler": numbers}
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_tensors(path, contiguous, {KEY: json.dumps(document)})


def load_state(folder: Path, updater: Updater, data_sha256: str) -> Position:
    """Put a stored state into the updater; the position it was stored at.

    Raises:
        ArtifactError: damaged, of another version, of another network, or of other data.
    """
    check_data(folder, data_sha256)
    document = _document(folder / FILE, "position")
    _load(folder / FILE, updater, document)
    return _position(document["position"])


def stored_course(folder: Path, updates: int, began_with: str) -> Course | None:
    """Where a stored self-training stands; None if there is none so long after those weights.

    Raises:
        ArtifactError: damaged, or of another version.
    """
    path = folder / TAUGHT
    if not path.is_file():
        return None
    document = _document(path, "course", "began_with")
    course = Course(**document["course"])
    fits = course.updates == updates and document["began_with"] == began_with
    return course if fits else None


def load_course(folder: Path, updater: Updater) -> None:
    """Put the stored state of a self-training into the updater.

    Raises:
        ArtifactError: damaged, of another version, or of another network.
    """
    path = folder / TAUGHT
    _load(path, updater, _document(path))


def _load(path: Path, updater: Updater, document: dict[str, Any]) -> None:
    try:
        _restore(updater, load_file(path), document["scaler"])
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{path}: does not fit the run's recipe ({reason})") from error


def check_data(folder: Path, data_sha256: str) -> None:
    """Refuse a stored state of other data.

    Raises:
        ArtifactError: damaged, of another version, or of other data.
    """
    if data_sha256_of(folder) != data_sha256:
        raise ArtifactError(
            f"{folder / FILE}: the images, labels or splits have changed since this run was "
            "started; train again"
        )


def data_sha256_of(folder: Path) -> str:
    """The fingerprint of the data that a run was started on. Raises ArtifactError."""
    return _document(folder / FILE, "data_sha256")["data_sha256"]


def _document(path: Path, *keys: str) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            document = json.loads((file.metadata() or {})[KEY])
        version, *_ = (document[key] for key in ("version", "scaler", *keys))
    except Exception as error:
        raise ArtifactError(f"{path}: damaged or cut short ({error}){MENDS[path.name]}") from error
    if version != VERSION:
        raise ArtifactError(f"{path}: written by another version of wsol-deploy; train again")
    return document


def _restore(updater: Updater, tensors: dict[str, Tensor], scaler: dict[str, Any]) -> None:
    updater.network.load_state_dict(_below(tensors, "network."))
    if updater.average is not None:
        updater.average.load_state_dict(_below(tensors, "average."))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer.").items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = value
    groups = updater.optimizer.state_dict()["param_groups"]
    updater.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    if updater.scaler.is_enabled() and scaler:
        updater.scaler.load_state_dict(scaler)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _position(stored: dict[str, Any]) -> Position:
    best = stored["best"]
    return Position(
        **stored | {"best": best and Score(**best), "totals": Totals(**stored["totals"])}
    )
