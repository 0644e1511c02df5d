"""One picture and what the model says of it; sliders act on this, never on the model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsol_deploy.batch.page import Page
from wsol_deploy.batch.writers.rows import row_section
from wsol_deploy.demo import views
from wsol_deploy.errors import WsolError
from wsol_deploy.pixelsize import pixel_size
from wsol_deploy.runtime import Prediction, Predictor, render


class Drawing(NamedTuple):
    """How a look is to be drawn: the page's controls.

    Attributes:
        view: one of the look's `views`.
        threshold: of the soft mask, in [0, 1].
        opacity: of the overlay's veil, in [0, 1].
        label: the class of the class heat map.
        boxes: draw them.
    """

    view: str
    threshold: float
    opacity: float = render.OPACITY
    label: str = ""
    boxes: bool = False


@dataclass(eq=False)
class Look:
    """A prediction, at full size for numbers and downloads and at the size it is shown at.

    Attributes:
        name: of the file.
        model: name of the model.
        prediction: with the image in it, at the card's threshold.
        seconds: that the model took.
        image: uint8, h x w x 3, as shown.
        probability: float32, h x w, as shown.
        pixel_size: (x, y) micrometres of a pixel, or None.
    """

    name: str
    model: str
    prediction: Prediction
    seconds: float
    image: np.ndarray
    probability: np.ndarray
    pixel_size: tuple[float, float] | None = None
    _heat: np.ndarray | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        arrays = (self.image, self.probability, self.prediction.image, self.prediction.probability)
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def views(self) -> list[str]:
        """The views this model can give."""
        without = set() if self.prediction.class_maps is not None else {views.HEAT}
        return [view for view in views.VIEWS if view not in without]

    def at(self, threshold: float) -> Prediction:
        """The prediction at another threshold."""
        if threshold == self.prediction.threshold:
            return self.prediction
        return replace(self.prediction, threshold=threshold)

    def picture(self, asked: Drawing) -> np.ndarray:
        """What the stage shows: uint8, h x w x 3, RGB.

        Raises:
            WsolError: an unknown view or class.
        """
        size = self.image.shape[:2]
        boxes = views.scaled_boxes(self.at(asked.threshold), size) if asked.boxes else None
        mask = self.probability > asked.threshold
        if asked.view == views.OVERLAY:
            return render.overlay(self.image, mask, asked.opacity, boxes)
        if asked.view == views.SOFT:
            return views.soft(self.probability, mask, boxes)
        if asked.view == views.HEAT:
            return views.heat(self._share(asked.label), mask, boxes)
        if asked.view == views.FOREGROUND:
            return views.kept(self.image, self.probability)
        if asked.view == views.BACKGROUND:
            return views.kept(self.image, 1 - self.probability)
        if asked.view == views.PLAIN:
            return self.image
        raise WsolError(f"there is no view {asked.view!r}; known: {', '.join(self.views)}")

    def overlay(self, threshold: float, opacity: float) -> np.ndarray:
        """The overlay at the picture's full size."""
        prediction = self.at(threshold)
        assert prediction.image is not None
        return render.overlay(prediction.image, prediction.mask, opacity)

    def page(self, threshold: float) -> Page:
        """What the writers of `wsol predict` take."""
        return Page(self.name, Path(self.name), self.at(threshold), self.pixel_size)

    def report(self, threshold: float) -> dict[str, Any]:
        """The row `wsol predict` would write, with the model, the threshold and the time."""
        return {
            "model": self.model,
            "threshold": threshold,
            **row_section(self.page(threshold)),
            "seconds": round(self.seconds, 3),
        }

    def _share(self, label: str) -> np.ndarray:
        prediction = self.prediction
        if label not in prediction.classes:
            raise WsolError(f"no class {label!r}; known: {', '.join(prediction.classes)}")
        if self._heat is None:
            self._heat = prediction.class_heat(self.image.shape[:2])
        return self._heat[prediction.classes.index(label)]


def look_at(predictor: Predictor, path: Path, image: np.ndarray) -> Look:
    """Run the model on the RGB pixels (uint8, H x W x 3) of a file."""
    start = time.perf_counter()
    prediction = predictor.predict(image)
    seconds = time.perf_counter() - start
    return Look(
        name=path.name,
        model=predictor.card.name,
        prediction=replace(prediction, image=image),
        seconds=seconds,
        image=views.fit(image),
        probability=views.fit(prediction.probability),
        pixel_size=pixel_size(path),
    )
