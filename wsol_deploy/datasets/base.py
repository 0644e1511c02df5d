"""Labelled images as data: samples, data sets, their fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from wsol_deploy import images
from wsol_deploy.card import SEPARATOR, DataFingerprint
from wsol_deploy.errors import DataError

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes:
        name: unique in the data set, relative to its root, with the suffix ("cat/1.jpg").
        image: path of the image.
        label: index into the data set's classes.
        mask: path of the truth mask, or None; used for evaluation only, never for training
            (but by the fully supervised upper bound).
        boxes: truth boxes (x0, y0, x1, y1) in pixels of the image, or empty.
        group: images of one group (a patient) never straddle splits.
        split: train, valid, test, or None where the data set does not say.
        also: further classes that a multi-label image shows.
    """

    name: str
    image: Path
    label: int
    mask: Path | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    group: str | None = None
    split: Split | None = None
    also: tuple[int, ...] = ()

    @property
    def labels(self) -> tuple[int, ...]:
        """Every class that the image shows."""
        return (self.label, *self.also)

    def read_image(self) -> np.ndarray:
        """uint8, H x W x 3, RGB. Raises ImageError."""
        return images.read(self.image)

    def read_mask(self) -> np.ndarray:
        """bool, H x W, True on the object.

        Raises:
            DataError: this sample has no mask.
            ImageError: the mask cannot be read.
        """
        if self.mask is None:
            raise DataError(f"{self.name}: has no mask; pixel metrics need one for every image")
        return images.read_mask(self.mask)

    def read_class_masks(self, classes: int) -> np.ndarray:
        """bool, c x H x W: where the mask's value is 1 + the number of the class.

        Raises:
            DataError: this sample has no mask, or one with values that are no class.
            ImageError: the mask cannot be read.
        """
        if self.mask is None:
            raise DataError(f"{self.name}: has no mask; pixel metrics need one for every image")
        values = images.read_values(self.mask)
        values = values.astype(np.uint8) if values.dtype == bool else values
        if values.ndim != 2 or values.max(initial=0) > classes:
            found = "colours" if values.ndim != 2 else f"the value {values.max()}"
            raise DataError(
                f"{self.mask}: has {found}; where images show several classes a mask's values are "
                f"0 for the background and 1 to {classes} for the classes in alphabetical order"
            )
        return values == np.arange(1, classes + 1, dtype=values.dtype)[:, None, None]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples of named classes."""

    name: str
    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def subset(self, split: Split) -> Dataset:
        """The samples of one split."""
        return self.with_samples(sample for sample in self.samples if sample.split == split)

    def with_samples(self, samples: Iterable[Sample]) -> Dataset:
        """The same data set with other samples."""
        return replace(self, samples=tuple(samples))

    @property
    def multi_label(self) -> bool:
        """Whether some image shows several classes."""
        return any(sample.also for sample in self.samples)

    def fingerprint(self) -> DataFingerprint:
        """Name, images a split, and sha256 over every sample's name, label, split, file size."""
        digest = hashlib.sha256()
        for sample in sorted(self.samples, key=lambda sample: sample.name):
            label = SEPARATOR.join(self.classes[index] for index in sample.labels)
            size = sample.image.stat().st_size
            digest.update(
                f"{sample.name}\0{label}\0{sample.split}\0{size}\n".encode(errors="surrogateescape")
            )
        counts: dict[str, int] = {split: len(self.subset(split)) for split in SPLITS}
        return DataFingerprint(name=self.name, images=counts, sha256=digest.hexdigest())
