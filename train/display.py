"""What a training shows: a progress bar on a terminal, else a line an epoch in the log."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

logger = logging.getLogger(__name__)
NOT_LOSSES = ("error", "passes")
CUT_FIRST = Column(ratio=1, no_wrap=True, overflow="ellipsis")


class Display:
    """Shows losses, validation error, images a second and the time left.

    Args:
        quiet: show nothing.
        epochs: of the whole training.
        updates: of an epoch.
    """

    def __init__(self, quiet: bool, epochs: int, updates: int) -> None:
        self._epochs, self._updates = epochs, updates
        self._images = self._seconds = 0.0
        self._valid = ""
        console = Console(stderr=True)
        self._bar = None
        self._done = self._wanted = 0
        if not quiet and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}", style="dim", table_column=CUT_FIRST),
                console=console,
                expand=True,
            )
            self._task = self._bar.add_task("training", total=epochs * updates, numbers="")

        self._level = logging.DEBUG if quiet or self._bar is not None else logging.INFO

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
        self._last = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def speed(self) -> float:
        """Training images a second since the epoch began."""
        return self._images / self._seconds if self._seconds else 0.0

    def begin(self) -> None:
        """An epoch begins; its speed is measured from here."""
        self._images = self._seconds = 0.0
        self._last = time.perf_counter()

    def update(self, epoch: int, step: int, images: int, means: dict[str, float]) -> None:
        """After each update.

        Args:
            epoch, step: where the training stands, from 0.
            images: in the update.
            means: over the epoch so far.
        """
        now = time.perf_counter()
        self._seconds += now - self._last
        self._images += images
        self._last = now
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=epoch * self._updates + step,
                description=f"epoch {epoch + 1}/{self._epochs}",
                numbers=f"{self.speed:.1f} images/s{self._valid} · {_losses(means)}",
            )

    def self_training(self, done: int, updates: int) -> None:
        """A self-training of so many updates begins, or goes on."""
        self._done, self._wanted = done, updates
        if self._bar is not None:
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(
                "self-training", completed=done, total=updates, numbers=""
            )

    def taught(self, means: dict[str, float]) -> None:
        """After each of its updates, with the means over its round so far."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, numbers=_losses(means))

    def round(self, means: dict[str, float]) -> None:
        """After each of its rounds."""
        logger.log(self._level, "self-training %d/%d  %s", self._done, self._wanted, _losses(means))

    def self_trained(self, error: float | None) -> None:
        """After it, with the validation's error."""
        valid = "" if error is None else f" · valid error {error:.1%}"
        logger.info("self-training done%s; last.safetensors is the network before it", valid)

    def epoch(self, row: dict[str, Any], best: bool) -> None:
        """After each validation, with the epoch's row of metrics.csv."""
        if row.get("valid_error") is not None:
            self._valid = f" · valid error {row['valid_error']:.1%}"
        losses = {name: row[name] for name in row if name.startswith("train_")}
        means = {name.removeprefix("train_"): value for name, value in losses.items()}
        logger.log(
            self._level,
            "epoch %d/%d  %s%s · %.1f images/s%s",
            row["epoch"], self._epochs, _losses(means), self._valid, self.speed,
            " · best" if best else "",
        )  # fmt: skip


def _losses(means: dict[str, float]) -> str:
    return " ".join(f"{k} {v:.3f}" for k, v in means.items() if k not in NOT_LOSSES)
