"""What every tab shares: models, sessions, examples, limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from wsol_deploy.card import ModelCard
from wsol_deploy.demo import batch, compare
from wsol_deploy.demo.batch import Progress
from wsol_deploy.demo.compare import Comparison
from wsol_deploy.demo.examples import Example
from wsol_deploy.demo.look import Look, look_at
from wsol_deploy.demo.sessions import Session, Sessions
from wsol_deploy.demo.shelf import Shelf
from wsol_deploy.demo.uploads import Limits, read_picture, read_truth
from wsol_deploy.errors import UsageError

MODEL_QUEUE = "model"
BATCH_QUEUE = "batch"


@dataclass(frozen=True, eq=False)
class Room:
    """The parts of one running page.

    Attributes:
        shelf: the models.
        sessions: the users' drawers.
        examples: pictures to begin with.
        limits: what may come in.
    """

    shelf: Shelf
    sessions: Sessions
    examples: list[Example]
    limits: Limits
    _known: dict[int, Look] = field(default_factory=dict)

    @property
    def card(self) -> ModelCard:
        """Of the page's model."""
        return self.shelf.cards[self.shelf.first]

    def session(self, request: gr.Request) -> Session:
        """The caller's own.

        Raises:
            WsolError: the caller has no session key.
        """
        return self.sessions.of(request.session_hash)

    def look(self, path: Path) -> Look:
        """Run the page's model on an uploaded picture.

        Raises:
            ImageError: not a picture this page takes.
        """
        return look_at(self.shelf.predictor(), path, read_picture(path, self.limits))

    def look_at_example(self, index: int) -> Look:
        """The page's model on an example; it runs once, whoever asks.

        Raises:
            UsageError: no such example.
        """
        if not 0 <= index < len(self.examples):
            raise UsageError(f"no example {index}; there are {len(self.examples)}, from 0")
        if index not in self._known:
            self._known[index] = self.look(self.examples[index].path)
        return self._known[index]

    def batch(
        self, session: Session, files: Sequence[Path], save: Sequence[str], threshold: float
    ) -> Iterator[Progress]:
        """The page's model on uploaded pictures and zips; see `batch.go`."""
        return batch.go(self.shelf.predictor(), session, files, save, threshold, self.limits)

    def compare(self, picture: Path, first: str, second: str, truth: Path | None) -> Comparison:
        """Two methods on an uploaded picture, with its truth mask if there is one.

        Raises:
            ImageError: not a picture, or not a mask, this page takes.
            DataError, UsageError: see `compare.compare`.
        """
        known = None if truth is None else read_truth(truth, self.limits)
        image = read_picture(picture, self.limits)
        return compare.compare(self.shelf, image, first, second, known)
