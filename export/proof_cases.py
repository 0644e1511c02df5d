"""The batches of an export's proof: several sizes, odd ones among them, one to three images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wsol_deploy import images
from wsol_deploy.card import MIN_SIDE

PRIME = (127, 191)
SIZES_SYNTHETIC = 256
SEED = 2020


@dataclass(frozen=True, slots=True)
class Picture:
    """RGB pixels with the name the report gives them: uint8, H x W x 3."""

    name: str
    pixels: np.ndarray


@dataclass(frozen=True, slots=True)
class Case:
    """A batch: uint8, N x H x W x 3, and what it is made of."""

    names: tuple[str, ...]
    batch: np.ndarray

    def __str__(self) -> str:
        _, height, width, _ = self.batch.shape
        return f"{' + '.join(self.names)} at {height} x {width}"


def cases(pictures: Sequence[Picture]) -> Iterator[Case]:
    """Each picture as it is, then the smallest size, a prime one and the largest in threes.

    Args:
        pictures: at the sizes the graph will see; at least one.
    """
    for picture in pictures:
        yield _case([picture], *picture.pixels.shape[:2])
    largest = max((picture.pixels.shape[:2] for picture in pictures), key=lambda s: s[0] * s[1])
    for count, size in enumerate([(MIN_SIDE, MIN_SIDE), PRIME, largest], start=1):
        chosen = [pictures[index % len(pictures)] for index in range(count)]
        yield _case(chosen, *size)


def _case(pictures: Sequence[Picture], height: int, width: int) -> Case:
    batch = np.stack([images.resize(picture.pixels, height, width) for picture in pictures])
    return Case(tuple(picture.name for picture in pictures), batch)


def synthetic(count: int) -> list[Picture]:
    """Synthetic micrographs, for a model whose own images are not at hand."""
    from wsol_deploy.datasets.synthetic import render

    rng = np.random.default_rng(SEED)
    grades = ("benign", "malignant")
    return [
        Picture(f"synthetic {index}", render(rng, grades[index % 2], SIZES_SYNTHETIC)[0])
        for index in range(count)
    ]
