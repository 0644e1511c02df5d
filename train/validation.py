"""The validation after each epoch: the classifier's error and loss on X+ (Fig. 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wsol_deploy.train.loader import Batch
from wsol_deploy.train.world import World

SMALLEST = 1e-12


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """How good a network is on the validation images; the lower, the better.

    Attributes:
        error: share of wrong labels, in [0, 1].
        loss: mean of -log p^(y | X+), which breaks ties.
    """

    error: float
    loss: float


@torch.inference_mode()
def validate(
    network: Any,
    batches: Iterable[Batch],
    pixels: Callable[[Tensor], Tensor],
    world: World,
) -> Score | None:
    """The score, or None without any image.

    Args:
        network: with `infer`.
        batches: this process's part of the validation images.
        pixels: puts uint8 images on the device and normalises them.
        world: the processes among which the images are divided.
    """
    training = network.training
    network.eval()
    images = wrong = loss = 0.0
    for batch in batches:
        probs = network.infer(pixels(batch.x), ("probs",))["probs"].double().cpu()
        images += len(batch.labels)
        wrong += float((probs.argmax(dim=1) != batch.labels).sum())
        true = probs.gather(1, batch.labels[:, None]).clamp(min=SMALLEST)
        loss += float(-true.log().sum())
    network.train(training)
    images, wrong, loss = world.sum([images, wrong, loss])
    return Score(wrong / images, loss / images) if images else None
