"""What a model says of one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wsol_deploy import images
from wsol_deploy.card import SEPARATOR
from wsol_deploy.errors import WsolError
from wsol_deploy.runtime import render
from wsol_deploy.runtime.geometry import Box, Component, Polygon, components
from wsol_deploy.runtime.postprocess import NO_POST, PostProcess
from wsol_deploy.runtime.trust import TrustReport, asked_of


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result for one image, at the image's original size.

    Attributes:
        probability: float32, H x W in [0, 1]: R+ of Eq. 11, the soft mask.
        threshold: the threshold used for `mask`.
        classes: names, in the order of every probability vector.
        probs: float32, c: classifier's posterior on X+, or None if not asked for or not had.
        localizer_probs: float32, c: localizer's posterior (Eq. 8), or None.
        background_probs: float32, c: classifier's posterior on X-, or None.
        class_maps: float32, c x h' x w': A_i of Eq. 10, or None.
        trust: entropies on X+ and X-, and whether to look again; None without `probs`.
        post: steps between the soft mask and the mask.
        image: uint8, H x W x 3, RGB: the pixels predicted, or None.
        task: of the card: one class an image, or several.
        class_probabilities: float32, c x h x w in [0, 1]: R+ of each class of a multi-label model
            at the size the graph saw, or None.
    """

    probability: np.ndarray
    threshold: float
    classes: tuple[str, ...]
    probs: np.ndarray | None = None
    localizer_probs: np.ndarray | None = None
    background_probs: np.ndarray | None = None
    class_maps: np.ndarray | None = None
    trust: TrustReport | None = None
    post: PostProcess = NO_POST
    image: np.ndarray | None = None
    task: str = "single-label"
    class_probabilities: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.probability.shape[0], self.probability.shape[1]

    @cached_property
    def mask(self) -> np.ndarray:
        """bool, H x W: True where `probability` is above the threshold, after `post`."""
        return self.post(self.probability, self.threshold)

    @property
    def scores(self) -> dict[str, float] | None:
        """Posterior by class name: classifier's, else localizer's, else None."""
        probs = self.probs if self.probs is not None else self.localizer_probs
        if probs is None:
            return None
        return dict(zip(self.classes, probs.tolist(), strict=True))

    @property
    def label(self) -> str | None:
        """The class of the highest score, or None without scores.

        Of a multi-label model every class found, as in "cat;dog", or None if none is.
        """
        return SEPARATOR.join(self.labels) or None

    @property
    def labels(self) -> tuple[str, ...]:
        """The class of the highest score; of a multi-label model every class found."""
        scores = self.scores
        if scores is None:
            return ()
        if self.task == "multi-label":
            found = asked_of(np.array(list(scores.values())), self.task)
            return tuple(np.array(self.classes, dtype=object)[found])
        return (max(scores, key=scores.__getitem__),)

    def class_mask(self, name: str) -> np.ndarray:
        """bool, H x W: where a class of a multi-label model is.

        Raises:
            WsolError: no such class, or the prediction has no masks of classes.
        """
        return self.post(self.class_probability(name), self.threshold)

    def class_probability(self, name: str) -> np.ndarray:
        """float32, H x W in [0, 1]: the soft mask of a class; raises as `class_mask`."""
        if self.class_probabilities is None or name not in self.classes:
            raise WsolError(
                f"no mask of {name}: only multi-label models have one for each of their classes, "
                f"and this one knows {', '.join(self.classes)}"
            )
        return images.resize(self.class_probabilities[self.classes.index(name)], *self.size)

    @property
    def foreground_fraction(self) -> float:
        """Share of foreground pixels, in [0, 1]."""
        return float(self.mask.mean())

    def class_heat(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """float32, c x H x W in [0, 1]: how far each place speaks for each class.

        Args:
            size: (H, W); None for the image's.

        Raises:
            WsolError: the prediction has neither class maps nor masks of classes.
        """
        size = size or self.size
        if self.class_probabilities is not None:
            return np.stack([images.resize(one, *size) for one in self.class_probabilities])
        if self.class_maps is None:
            raise WsolError("this model has no class maps, so no class heat map")
        return render.class_heat(self.class_maps, size)

    @cached_property
    def components(self) -> list[Component]:
        """Connected regions of the mask, or of each found class's, from top to bottom."""
        if self.class_probabilities is None:
            return components(self.mask, self.probability)
        return [
            part
            for name in self.labels
            for part in components(self.class_mask(name), self.class_probability(name), label=name)
        ]

    @property
    def boxes(self) -> list[Box]:
        """(x, y, width, height) of each component."""
        return [part.box for part in self.components]

    @cached_property
    def polygons(self) -> list[Polygon]:
        """The exact outline of each component, with its holes."""
        return [part.polygon for part in self.components]

    def overlay(self, image: np.ndarray | None = None) -> np.ndarray:
        """uint8, H x W x 3: the foreground as it is, a veil over the rest, the mask's outline.

        Args:
            image: RGB pixels to draw on; None for those predicted.

        Raises:
            WsolError: no image is given and the prediction kept none.
        """
        return render.overlay(self._pixels(image), self.mask)

    def save(self, path: Path | str, what: str = "mask") -> None:
        """Write a PNG: `mask` (0 and 255), `prob` (16 bit), `overlay` or `cutout` (RGBA).

        Raises:
            WsolError: an unknown picture, or one that needs the image and there is none.
        """
        pictures = {
            "mask": lambda: render.mask_pixels(self.mask),
            "prob": lambda: render.probability_pixels(self.probability),
            "overlay": self.overlay,
            "cutout": lambda: render.cutout(self._pixels(None), self.mask),
        }
        if what not in pictures:
            raise WsolError(f"no picture called {what}; known: {', '.join(pictures)}")
        Path(path).write_bytes(render.png(pictures[what]()))

    def _pixels(self, image: np.ndarray | None) -> np.ndarray:
        pixels = self.image if image is None else image
        if pixels is None:
            raise WsolError("this prediction kept no image: give it, as in overlay(image)")
        if pixels.shape[:2] != self.probability.shape:
            raise WsolError(
                f"the image has {pixels.shape[1]} x {pixels.shape[0]} pixels, the prediction "
                f"{self.probability.shape[1]} x {self.probability.shape[0]}"
            )
        return pixels
