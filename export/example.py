"""The batch that exporters trace: its content and its sizes leave no mark on the graph."""

from __future__ import annotations

import torch
from torch import Tensor

BATCH, HEIGHT, WIDTH = 2, 96, 112


def example() -> Tensor:
    """uint8, 2 x 96 x 112 x 3: no two sizes equal, so that no dynamic shapes are confused."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (BATCH, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator)
