"""What the writers are given: one image's name, place and prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsol_deploy.card import ModelCard
from wsol_deploy.runtime import Prediction
from wsol_deploy.runtime.geometry import Component

FOREGROUND = "foreground"


@dataclass(frozen=True)
class Page:
    """One predicted image.

    Attributes:
        name: its path below the sources' common folder, with `/`.
        path: the file it was read from.
        prediction: at the image's size.
        pixel_size: (x, y) micrometres of a pixel if the file says so, else None.
    """

    name: str
    path: Path
    prediction: Prediction
    pixel_size: tuple[float, float] | None = None

    @property
    def height(self) -> int:
        """Pixels."""
        return self.prediction.size[0]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.prediction.size[1]

    @property
    def label(self) -> str:
        """The label, or `foreground` for a model without posteriors."""
        return self.prediction.label or FOREGROUND

    def label_of(self, part: Component) -> str:
        """The class of a component: its own where each class has a mask, else the image's."""
        return part.label or self.label

    def score_of(self, part: Component) -> float | None:
        """The posterior of the component's class, or None for a model without posteriors."""
        scores = self.prediction.scores
        return None if scores is None else scores[self.label_of(part)]


def categories(card: ModelCard) -> list[str]:
    """The names that `Page.label_of` can take for a model, in order."""
    known = card.outputs or ("probs",)
    return list(card.classes) if {"probs", "localizer_probs"} & set(known) else [FOREGROUND]
