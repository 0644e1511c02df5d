"""Self-training: after its last epoch the network goes on with its own masks as a teacher.

Until then the backbone never learns from masks. Now all of the network learns, for a few updates,
to draw on varied crops what it drew of the whole images (a noisy student, Xie et al. 2020), while
the losses on labels go on. The masks are the mean over each image and its mirror images, they are
drawn anew on the way. Where images hold several objects, foreground and background of each mask
weigh the same: else pale objects would pale further. Elsewhere masks go on to cover as much as the
first did in the mean: else they would spread. What soft masks teach is softer from draw to draw;
towards the end masks are sharpened to what they were. A network learns what its teacher's masks
have in common before it learns their errors by heart (Liu et al. 2020), so the updates are few.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsol_deploy.model.deploy import VIEWS
from wsol_deploy.train.loader import Batch, Images, TaughtImages, TrainLoader
from wsol_deploy.train.schedule import learning_rate
from wsol_deploy.train.soft_masks import ambiguity, objects, odds_to_cover, sharpening, shifted
from wsol_deploy.train.state import Position
from wsol_deploy.train.updates import Totals, Updater

ROUNDS = 8
SHARP_ROUNDS = 2  # the last
ENOUGH = 64  # images to tell what masks cover
SMALL = 64  # pixels a side, to tell it by
SEVERAL = 2


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


def balances(asked: Literal["auto", "always", "never"], masks: Tensor) -> bool:
    """Whether foreground and background of each mask are to weigh the same.

    Where an image holds several objects their sizes even out: a mask that covers less than others
    is then mostly a faint one. One object may cover anything.

    Args:
        asked: `auto` is for SEVERAL objects or more in the mean.
        masks: k x h x w in [0, 1].
    """
    if asked == "auto":
        return bool(np.mean([objects(mask) for mask in masks.numpy()] or 0) >= SEVERAL)
    return asked == "always"


def taught_by(updater: Updater, images: Images, share: float | None) -> TaughtImages:
    """The images with the masks that the network draws of them as it is now.

    Args:
        updater: of the network.
        images: of the training.
        share: the odds of all masks are changed by one factor until they cover so much in the
            mean, in (0, 1); None to leave them as they are.
    """
    draw = _drawn_by(updater)
    sample = shown_masks(updater, images) if share else torch.empty(0)
    shift = odds_to_cover(sample, share) if share and len(sample) else 0.0

    def planes(image: np.ndarray) -> np.ndarray:
        masks = shifted(draw(image)[None], shift)[0]
        return (255 * masks).round().byte().permute(1, 2, 0).cpu().numpy()

    return TaughtImages(images, planes)


def shown_masks(updater: Updater, images: Images) -> Tensor:
    """The masks that are somewhere above one half, of many images some chosen evenly.

    Args:
        updater: of the network that draws them.
        images: of the training.

    Returns:
        k x SMALL x SMALL in [0, 1].
    """
    draw = _drawn_by(updater)
    chosen = np.linspace(0, len(images) - 1, min(len(images), ENOUGH)).round().astype(int)
    drawn = (mask for number in chosen for mask in draw(images[number]).cpu())
    masks = [mask for mask in drawn if mask.max() > 0.5]
    small = [functional.adaptive_avg_pool2d(mask[None], SMALL) for mask in masks]
    return torch.cat(small) if small else torch.zeros(0, SMALL, SMALL)


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
    masks = shown_masks(updater, images)
    balanced = balances(updater.recipe.loss.balance, masks)
    loss = updater.recipe.loss.model_copy(update={"balance": "always" if balanced else "never"})
    share = None if balanced or not len(masks) else min(float(masks.mean()), 0.5)
    updater.forget()
    network.train()
    network.pixel_head.attached = True
    length = -(-updates // ROUNDS)
    for done in range(updates):
        if done % length == 0:
            if done // length >= ROUNDS - SHARP_ROUNDS:
                sharpen(updater, images, ambiguity(masks))
            stream = _endless(load(taught_by(updater, images, share)), at.epoch + done)
        size, batches = next(stream)
        rate = learning_rate(optim, done)
        updater.update(at.steps + done, size, batches, rate, loss, Totals())
        if advance():
            return True
    network.pixel_head.attached = False
    return False


def sharpen(updater: Updater, images: Images, wanted: float) -> None:
    """Let the network draw masks that are as ambiguous as wanted, see `sharpening`."""
    factor = sharpening(shown_masks(updater, images), wanted)
    networks: list[Any] = [updater.network, *([updater.average] if updater.average else [])]
    for network in networks:
        network.pixel_head.sharpen(factor)


def _endless(loader: TrainLoader, epoch: int) -> Iterator[tuple[int, Iterator[Batch]]]:
    while True:
        yield from loader.epoch(epoch)
        epoch += 1
