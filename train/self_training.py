"""Self-training: after its last epoch the network goes on with its own masks as a teacher.

Until then the backbone never learns from masks. Now all of the network learns, for a few updates,
to draw on varied crops what it drew of the whole images (a noisy student, Xie et al. 2020), while
the losses on labels go on. The masks are the mean over each image and its mirror images, and are
drawn anew twice on the way. A network learns what its teacher's masks have in common before it
learns their errors by heart (Liu et al. 2020), so the updates are few.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsol_deploy.model.deploy import VIEWS
from wsol_deploy.train.loader import Batch, Images, TaughtImages, TrainLoader
from wsol_deploy.train.schedule import learning_rate
from wsol_deploy.train.state import Position
from wsol_deploy.train.updates import Totals, Updater

ROUNDS = 3


@torch.no_grad()
def own_masks(network: Any, x: Tensor) -> Tensor:
    """The mean of the masks drawn of an image and its mirror images.

    Args:
        network: a MinMaxNetwork with a pixel head, in evaluation mode.
        x: normalised images, n x 3 x h x w.

    Returns:
        n x m x h x w in [0, 1].
    """
    size = (x.shape[2], x.shape[3])
    views = [network.masks(network.localize(x.flip(axes)), size).flip(axes) for axes in VIEWS]
    return torch.stack(views).mean(dim=0)


def taught_by(updater: Updater, images: Images) -> TaughtImages:
    """The images with the masks that the network draws of them as it is now."""
    teacher = copy.deepcopy(updater.evaluated).eval()

    def draw(image: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(image.copy()).permute(2, 0, 1)
        masks = own_masks(teacher, updater.pixels(planes[None]))[0]
        return (255 * masks).round().byte().permute(1, 2, 0).cpu().numpy()

    return TaughtImages(images, draw)


def self_train(
    updater: Updater,
    images: Images,
    load: Callable[[Images], TrainLoader],
    at: Position,
    updates: int,
    advance: Callable[[], bool] = lambda: False,
) -> bool:
    """Go on for so many updates, while the pixel head learns from masks, which are drawn thrice.

    Args:
        updater: whose network has a pixel head; changed in place.
        images: of the training.
        load: makes the training's loader of them.
        at: the end of the training; order and augmentation go on from there.
        updates: how many.
        advance: called after each; True stops.

    Returns:
        whether it was stopped.

    Raises:
        NotFinite: a loss is infinite or not a number.
        ImageError: an image cannot be read.
    """
    network: Any = updater.network
    once_more = {"schedule": "onecycle", "epochs": updates, "warmup_epochs": 0.0}
    optim = updater.recipe.optim.model_copy(update=once_more)
    network.train()
    network.pixel_head.attached = True
    for done in range(updates):
        if done % -(-updates // ROUNDS) == 0:
            stream = _endless(load(taught_by(updater, images)), at.epoch + done)
        size, batches = next(stream)
        rate = learning_rate(optim, done)
        updater.update(at.steps + done, size, batches, rate, updater.recipe.loss, Totals())
        if advance():
            return True
    network.pixel_head.attached = False
    return False


def _endless(loader: TrainLoader, epoch: int) -> Iterator[tuple[int, Iterator[Batch]]]:
    while True:
        yield from loader.epoch(epoch)
        epoch += 1
