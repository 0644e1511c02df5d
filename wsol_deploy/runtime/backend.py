"""What every back end gives: a graph that turns a batch of pixels into named arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from wsol_deploy.card import CONTRACT
from wsol_deploy.errors import ArtifactError


class Backend(Protocol):
    """An opened model file.

    Attributes:
        device: where it really runs, `cpu` or `cuda:N`.
        outputs: the names `run` returns.
    """

    device: str
    outputs: tuple[str, ...]

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs, float32, for uint8 N x H x W x 3."""
        ...


def choose_outputs(
    path: Path, available: Sequence[str], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """The outputs to compute, in the contract's order: all available, or those wanted.

    Raises:
        ArtifactError: an output is wanted that the file does not have.
    """
    if wanted is None:
        return tuple(name for name in CONTRACT if name in available)
    missing = [name for name in wanted if name not in available]
    if missing:
        raise ArtifactError(
            f"{path}: it has no output {', '.join(missing)}; it has {', '.join(available)}"
        )
    return tuple(name for name in CONTRACT if name in wanted)
