"""All that a training writes into its run's folder, one process for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsol_deploy.artifacts import read_card
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import WsolError
from wsol_deploy.model import checkpoint
from wsol_deploy.runs import BEST, LAST
from wsol_deploy.train.cards import measured
from wsol_deploy.train.loader import Images
from wsol_deploy.train.logs import METRICS, TAUGHT_METRICS, Board, MetricsFile
from wsol_deploy.train.state import TAUGHT, Course, Position, save_course, save_state
from wsol_deploy.train.updates import Updater
from wsol_deploy.train.validation import Score


def weights_of_last_epoch(folder: Path) -> str:
    """The digest of their weights."""
    return read_card(folder / LAST).weights_sha256


class Records:
    """Checkpoints, state, metrics.csv, self-training.csv and TensorBoard of one run.

    Args:
        folder: of the run.
        card: of its checkpoints, without metrics.
        updater: whose weights and state are saved.
        valid: validation images, to show masks of.
        position: where the training starts; records of later epochs are dropped.

    Raises:
        WsolError: the folder cannot be written; what was there is whole.
    """

    def __init__(
        self, folder: Path, card: ModelCard, updater: Updater, valid: Images, position: Position
    ) -> None:
        self.folder, self.card, self.updater = folder, card, updater
        with self._whole_or_not():
            self._metrics = MetricsFile(folder / METRICS, "step", position.steps)
            self._board = Board(folder, valid, updater.recipe.optim.epochs, position.steps)

    def epoch(self, row: dict[str, Any], score: Score | None, kept: bool, at: Position) -> None:
        """After a validation.

        Args:
            row: of metrics.csv.
            score: of the validation.
            kept: whether its weights are the model of the run.
            at: where the training goes on.
        """
        network, card = self.updater.evaluated, measured(self.card, score)
        with self._whole_or_not():
            self._metrics.add(row)
            if kept:
                checkpoint.save(self.folder / BEST, network, card)
            checkpoint.save(self.folder / LAST, network, card)
            save_state(self.folder, self.updater, at, card.data.sha256)
            self._board.add(row)
            self._board.show(network, self.updater.pixels, row["epoch"] - 1, row["step"])

    @property
    def untaught(self) -> bool:
        """Whether the model of the run is the network of the last epoch, as that left it."""
        return read_card(self.folder / BEST).weights_sha256 == weights_of_last_epoch(self.folder)

    def teach(self, course: Course) -> None:
        """Before a self-training, or before it goes on."""
        with self._whole_or_not():
            path = self.folder / TAUGHT_METRICS
            self._taught_metrics = MetricsFile(path, "updates", course.done)

    def teaching(self, row: dict[str, Any], course: Course) -> None:
        """After a round of a self-training.

        Args:
            row: of self-training.csv.
            course: what goes on from there.
        """
        with self._whole_or_not():
            self._taught_metrics.add(row)
            self._board.add(row)
            save_course(self.folder, self.updater, course, weights_of_last_epoch(self.folder))

    def taught(self, network: Any, score: Score | None) -> None:
        """After a self-training, whose network is the model of the run."""
        with self._whole_or_not():
            checkpoint.save(self.folder / BEST, network, measured(self.card, score))
            (self.folder / TAUGHT).unlink(missing_ok=True)

    def stopped(self, at: Position) -> None:
        """In the middle of an epoch, without a validation."""
        with self._whole_or_not():
            checkpoint.save(self.folder / LAST, self.updater.evaluated, self.card)
            save_state(self.folder, self.updater, at, self.card.data.sha256)

    @contextmanager
    def _whole_or_not(self) -> Iterator[None]:
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, SafetensorError) as error:
            raise WsolError(
                f"{self.folder}: the run cannot be written ({error}); every file in it is whole: "
                "mend that, then go on with --resume"
            ) from error
