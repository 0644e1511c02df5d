"""Self-training: after its last epoch the network goes on with its own masks as a teacher.

Until then the backbone never learns from masks. Now all of the network learns, for a few updates,
to draw on varied crops what it drew of the whole images (a noisy student, Xie et al. 2020), while
the losses on labels go on. The masks are the mean over each image and its mirror images, they are
drawn anew on the way, and all cover as much of their image as the first did in the mean: else
pale objects would pale further, and bold masks spread. A network learns what its teacher's masks
have in common before it learns their errors by heart (Liu et al. 2020), so the updates are few.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsol_deploy.model.deploy import VIEWS
from wsol_deploy.train.loader import Batch, Images, TaughtImages, TrainLoader
from wsol_deploy.train.schedule import learning_rate
from wsol_deploy.train.state import Position
from wsol_deploy.train.updates import Totals, Updater

ROUNDS = 6
ENOUGH = 256  # images to tell how much of one a mask covers
ROUNDING = 0.5 / 255  # of a mask in 8 bits
HALVINGS = 20


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


def covering(masks: Tensor, share: float) -> Tensor:
    """The same masks, their odds of foreground changed until each covers so much of its image.

    What is shown in half of an image and drawn faint, and what is shown in half of another and
    drawn bold, then teach alike (the correction for a changed prior, Saerens et al. 2002).

    Args:
        masks: n x m x h x w in [0, 1].
        share: of an image that a mask is to cover, its mean, in (0, 1).

    Returns:
        n x m x h x w; the order of a mask's places is as it was. A mask that is nowhere above one
        half, of a class that is not shown, is left as it is.
    """
    logits = masks.clamp(ROUNDING, 1 - ROUNDING).logit()
    high = logits.new_full((*masks.shape[:2], 1, 1), 2 * log((1 - ROUNDING) / ROUNDING))
    low = -high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        less = (logits + middle).sigmoid().mean(dim=(2, 3), keepdim=True) < share
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    shown = masks.amax(dim=(2, 3), keepdim=True) > 0.5
    return torch.where(shown, (logits + low).sigmoid(), masks)


def covered(updater: Updater, images: Images) -> float:
    """The share of an image that a mask covers as the network draws it now, the mean over images.

    Args:
        updater: of the network.
        images: of the training; of very many, some chosen evenly.

    Returns:
        in (0, 1/2]; masks that are nowhere above one half do not count. A pixel head that was
        taught as much foreground as background of every image has no reason to cover more.
    """
    draw = _drawn_by(updater)
    chosen = (images[number] for number in range(0, len(images), -(-len(images) // ENOUGH)))
    masks = [mask for image in chosen for mask in draw(image) if mask.max() > 0.5]
    mean = float(np.mean([float(mask.mean()) for mask in masks])) if masks else 0.5
    return min(max(mean, ROUNDING), 0.5)


def taught_by(updater: Updater, images: Images, share: float) -> TaughtImages:
    """The images with the masks that the network draws of them as it is now.

    Args:
        updater: of the network.
        images: of the training.
        share: of an image that each mask is to cover.
    """
    draw = _drawn_by(updater)

    def planes(image: np.ndarray) -> np.ndarray:
        masks = covering(draw(image)[None], share)[0]
        return (255 * masks).round().byte().permute(1, 2, 0).cpu().numpy()

    return TaughtImages(images, planes)


def _drawn_by(updater: Updater) -> Callable[[np.ndarray], Tensor]:
    """What draws the masks of an image, m x h x w, as the network would now, whatever follows."""
    teacher = copy.deepcopy(updater.evaluated).eval()

    def draw(image: np.ndarray) -> Tensor:
        planes = torch.from_numpy(image.copy()).permute(2, 0, 1)
        return own_masks(teacher, updater.pixels(planes[None]))[0]

    return draw


def self_train(
    updater: Updater,
    images: Images,
    load: Callable[[Images], TrainLoader],
    at: Position,
    updates: int,
    advance: Callable[[], bool] = lambda: False,
) -> bool:
    """Go on for so many updates, while the pixel head learns from masks, which are drawn anew.

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
    share = covered(updater, images)
    network.train()
    network.pixel_head.attached = True
    for done in range(updates):
        if done % -(-updates // ROUNDS) == 0:
            stream = _endless(load(taught_by(updater, images, share)), at.epoch + done)
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
