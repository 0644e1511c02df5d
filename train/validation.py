"""The validation after each epoch: error and loss of labels (on X+, Fig. 2), or of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.train.loader import Batch
from wsol_deploy.train.world import World

SMALLEST = 1e-12


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """How good a network is on the validation images; the lower, the better.

    Attributes:
        error: share of wrong labels, in [0, 1]; of wrong decisions, a class an image, of a
            multi-label network; of wrong pixels for a network without labels.
        loss: mean of -log p^(y | X+), or of the binary cross-entropies, which breaks ties.
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
        network: with `infer` and `outputs`.
        batches: this process's part of the validation images.
        pixels: puts uint8 images on the device and normalises them.
        world: the processes among which the images are divided.
    """
    training = network.training
    network.eval()
    output, judge = ("probs", _labels) if "probs" in network.outputs else ("mask", _pixels)
    images = wrong = loss = 0.0
    for batch in batches:
        found = network.infer(pixels(batch.x), (output,))[output].double().cpu()
        errors, entropies = judge(found, batch)
        images += len(batch.labels)
        wrong += float(errors.double().sum())
        loss += float(entropies.sum())
    network.train(training)
    images, wrong, loss = world.sum([images, wrong, loss])
    return Score(wrong / images, loss / images) if images else None


def _labels(probs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of each image: whether its label is wrong, and -log of the true class's posterior."""
    if batch.labels.dim() == 2:
        true = torch.where(batch.labels > 0, probs, 1 - probs).clamp(min=SMALLEST)
        return (true < 0.5).double().mean(dim=1), -true.log().mean(dim=1)
    true = probs.gather(1, batch.labels[:, None]).clamp(min=SMALLEST)
    return probs.argmax(dim=1) != batch.labels, -true.log()[:, 0]


def _pixels(masks: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of each image: the share of its wrong pixels, and their mean cross-entropy."""
    assert batch.masks is not None, "the loader gives masks to supervised methods"
    truth = batch.masks > 127
    wrong = ((masks > 0.5) != truth).double()
    entropy = F.binary_cross_entropy(masks, truth.double(), reduction="none")
    return wrong.mean(dim=(1, 2, 3)), entropy.mean(dim=(1, 2, 3))
