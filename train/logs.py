"""The records of a run: tables and TensorBoard, all cut back to where a run is resumed."""

from __future__ import annotations

import csv
import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.utils.tensorboard import summary

from wsol_deploy import images
from wsol_deploy.files import readable, write_whole
from wsol_deploy.train.loader import Images

METRICS = "metrics.csv"
TAUGHT_METRICS = "self-training.csv"
TENSORBOARD = "tensorboard"
COUNTERS = ("epoch", "updates", "step")
SHOWN = 4
SHOWN_SIDE = 256
TIMES_SHOWN = 20


class MetricsFile:
    """A row an epoch, or a round of a self-training: where it ended, losses, errors, speed.

    Args:
        path: of the table.
        counter: the column that counts, from 1.
        done: rows that count further, of an interrupted run, are dropped.
    """

    def __init__(self, path: Path, counter: str, done: int) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        if done and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as stream:
                kept = (row for row in csv.DictReader(stream) if int(row[counter]) <= done)
                self._rows = list(kept)
        self._write()

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; it replaces that of the same epoch, which was cut short."""
        first = next(iter(row))
        if self._rows and int(self._rows[-1][first]) == row[first]:
            self._rows.pop()
        self._rows.append(row)
        self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        if columns:
            writer.writeheader()
        writer.writerows(self._rows)
        write_whole(self.path, text.getvalue().encode())


class Board:
    """TensorBoard: the losses, the errors, and the masks of a few fixed validation images.

    Args:
        folder: of the run.
        valid: validation images, of which the first few are shown.
        epochs: of the whole training; the masks are drawn about twenty times in it.
        step: updates done; an interrupted run's records of later ones are replaced.
    """

    def __init__(self, folder: Path, valid: Images, epochs: int, step: int) -> None:
        place = folder / TENSORBOARD
        if step == 0:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(exist_ok=True)
        self._path = place / f"events.out.tfevents.{time.time_ns()}"
        self._valid = valid
        self._every = max(1, epochs // TIMES_SHOWN)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if step:
            purge = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=step + 1, session_log=purge))

    def add(self, row: dict[str, Any]) -> None:
        """Plot a row's numbers over the updates."""
        for name, value in row.items():
            if name not in COUNTERS and value is not None:
                self._add(row["step"], summary.scalar(name, value))

    def show(self, network: Any, pixels: Callable[[Tensor], Tensor], epoch: int, step: int) -> None:
        """Draw image and mask side by side, in some of the epochs.

        Args:
            network: with `infer`.
            pixels: puts uint8 images on the device and normalises them.
            epoch, step: where the training stands.
        """
        if epoch % self._every:
            return
        for index in range(min(SHOWN, len(self._valid))):
            picture = _side_by_side(network, pixels, self._valid[index])
            name = self._valid.samples[index].name
            self._add(step, summary.image(f"mask/{readable(name)}", picture, dataformats="HWC"))

    def _add(self, step: int, content: Summary) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=content))

    def _write(self, event: Event) -> None:
        with self._path.open("ab") as stream:
            RecordWriter(stream).write(event.SerializeToString())


@torch.inference_mode()
def _side_by_side(
    network: Any, pixels: Callable[[Tensor], Tensor], image: np.ndarray
) -> np.ndarray:
    training = network.training
    network.eval()
    x = pixels(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
    found = network.infer(x, ("mask",))
    network.train(training)
    mask = (found["mask"][0, 0].float().cpu().numpy() * 255).astype(np.uint8)
    both = np.concatenate([image, np.repeat(mask[:, :, None], 3, axis=2)], axis=1)
    scale = min(1.0, SHOWN_SIDE / image.shape[0])
    height, width = (max(1, round(side * scale)) for side in both.shape[:2])
    return images.resize(both, height, width)
