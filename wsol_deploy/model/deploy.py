"""The inference-only graph every artifact holds: uint8 pixels in, the contract's outputs out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsol_deploy.model.checkpoint import load

ROWS, COLUMNS = 2, 3
VIEWS: tuple[tuple[int, ...], ...] = ((), (COLUMNS,), (ROWS,), (ROWS, COLUMNS))


class DeployedModel(nn.Module):
    """A network with its normalisation inside, and the mean over `model.flips` views.

    The views go through the network as one batch. Class maps are those of the image as it is: a
    flipped map's cells lie elsewhere.

    Args:
        network: with `infer`, `outputs` and a backbone that knows its mean and std.
        wanted: names of the outputs to compute, in the contract's order.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, wanted: Sequence[str] | None = None) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(n for n in network.outputs if wanted is None or n in wanted)
        backbone = network.backbone
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1))
        self.eval()

    def normalise(self, image: Tensor) -> Tensor:
        """uint8, N x H x W x 3 in [0, 255] to float32, N x 3 x H x W, normalised."""
        return (image.permute(0, 3, 1, 2).to(self.mean.dtype) / 255 - self.mean) / self.std

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs `names`, in that order (see the contract in the README)."""
        x = self.normalise(image)
        views = VIEWS[: self.network.config.flips]
        if len(views) == 1:
            result = self.network.infer(x, self.names)
            return tuple(result[name] for name in self.names)
        result = self.network.infer(torch.cat([x.flip(axes) for axes in views]), self.names)
        return tuple(_over(views, name, result[name]) for name in self.names)


def _over(views: Sequence[tuple[int, ...]], name: str, found: Tensor) -> Tensor:
    """One output of each view (views * N x ...) turned back, and their mean (N x ...)."""
    by_view = found.unflatten(0, (len(views), -1))
    if name == "class_maps":
        return by_view[0]
    if found.ndim == 2:
        return by_view.mean(dim=0)
    turned = [by_view[at].flip(axes) for at, axes in enumerate(views)]
    return torch.stack(turned).mean(dim=0)


def load_deployed(path: Path | str, wanted: Sequence[str] | None = None) -> DeployedModel:
    """A checkpoint as the graph its exports hold. Raises ArtifactError."""
    network, _ = load(path)
    return DeployedModel(network, wanted)
