"""Self-training: after its last epoch the network goes on with its own masks as a teacher.

Until then the backbone never learns from masks. Now all of the network learns, for a few updates,
to draw on varied crops what it drew of the whole images (a noisy student, Xie et al. 2020), and on
the images mixed from tiles for local evidence (CutMix, French et al. 2020); the losses on labels go
on. The masks are the mean over each image and its mirror images, they are drawn anew on the way.
Where images hold several objects, foreground and background of each mask weigh the same: else pale
objects would pale further. Elsewhere masks go on to cover as much as the first did in the mean:
else they would spread. What soft masks teach is softer from draw to draw; towards the end masks are
sharpened to what they were. A network learns what its teacher's masks have in common before it
learns their errors by heart (Liu et al. 2020), so the updates are few.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsol_deploy.model.deploy import VIEWS
from wsol_deploy.train.loader import Batch, Images, TaughtImages, TrainLoader
from wsol_deploy.train.schedule import learning_rate
from wsol_deploy.train.soft_masks import ambiguity, objects, odds_to_cover, sharpening, shifted
from wsol_deploy.train.state import Course, Position
from wsol_deploy.train.updates import Totals, Updater

logger = logging.getLogger(__name__)

ROUNDS = 8
SHORTEST = 8  # updates a round
SHARP_FROM = 0.75  # of the updates
ENOUGH = 64  # images to tell what masks cover
SMALL = 64  # pixels a side, to tell it by
SEVERAL = 2  # objects


class Sample(NamedTuple):
    """Masks of some training images that are somewhere above one half.

    Attributes:
        masks: k x SMALL x SMALL in [0, 1], of classes as if the image showed them for sure.
        objects: how many a mask holds, the mean.
    """

    masks: Tensor
    objects: float


@torch.no_grad()
def own_masks(network: Any, x: Tensor, faded: bool = True) -> Tensor:
    """The mean of the masks drawn of an image and its mirror images.

    Args:
        network: a MinMaxNetwork with a pixel head, in evaluation mode.
        x: normalised images, n x 3 x h x w.
        faded: as they are, a class's mask fading with its posterior; else not at all if that is
            above one half, and wholly if not.

    Returns:
        n x m x h x w in [0, 1].
    """
    size = (x.shape[2], x.shape[3])
    views = []
    for axes in VIEWS:
        found = network.localize(x.flip(axes))
        masks = network.masks(found, size).flip(axes)
        if not faded:
            shown = network.shown(found)[:, :, None, None]
            masks = masks * (shown > 0.5) / shown.clamp(min=0.5)
        views.append(masks)
    return torch.stack(views).mean(dim=0)


def taught_by(updater: Updater, images: Images, share: float | None) -> TaughtImages:
    """The images with the masks that the network draws of them as it is now.

    Args:
        updater: of the network.
        images: of the training.
        share: the odds of all masks are changed by one factor until they cover so much in the
            mean, in (0, 1); None to leave them as they are.
    """
    draw = _drawn_by(updater)
    shift = 0.0 if share is None else odds_to_cover(sample_of(updater, images).masks, share)

    def planes(image: np.ndarray) -> np.ndarray:
        masks = shifted(draw(image)[None], shift)[0]
        return (255 * masks).round().byte().permute(1, 2, 0).cpu().numpy()

    return TaughtImages(images, planes)


def sample_of(updater: Updater, images: Images) -> Sample:
    """Masks as the network draws them now, of many training images some chosen evenly."""
    draw = _drawn_by(updater, faded=False)
    chosen = np.linspace(0, len(images) - 1, min(len(images), ENOUGH)).round().astype(int)
    small, counts = [torch.zeros(0, SMALL, SMALL)], []
    for mask in (mask for number in chosen for mask in draw(images[number]).cpu()):
        if mask.max() > 0.5:
            small.append(functional.adaptive_avg_pool2d(mask[None], SMALL))
            counts.append(objects(mask.numpy()))
    return Sample(torch.cat(small), float(np.mean(counts or 0)))


def _drawn_by(updater: Updater, faded: bool = True) -> Callable[[np.ndarray], Tensor]:
    """What draws the masks of an image, m x h x w, as the network would now, whatever follows."""
    teacher = copy.deepcopy(updater.evaluated).eval()

    def draw(image: np.ndarray) -> Tensor:
        planes = torch.from_numpy(image.copy()).permute(2, 0, 1)
        return own_masks(teacher, updater.pixels(planes[None]), faded)[0]

    return draw


def begin(updater: Updater, images: Images, updates: int) -> Course:
    """A course of so many updates, from the network as it is; its optimizer starts afresh.

    `loss.balance` decides whether both ends of a mask weigh the same or masks cover in the mean
    what they cover now.

    Args:
        updater: whose network has a pixel head; its optimizer forgets.
        images: of the training.
        updates: how many.

    Raises:
        ImageError: an image cannot be read.
    """
    found, balance = sample_of(updater, images), updater.recipe.loss.balance
    balanced = balance == "always"
    if balance == "auto":
        balanced = any(updater.world.sum([found.objects >= SEVERAL]))
    if updater.world.leads:
        way = "both ends of each weigh the same" if balanced else "they go on to cover as much"
        logger.info("self-training: masks hold %.1f objects in the mean: %s", found.objects, way)
    updater.forget()
    goes_on = not balanced and len(found.masks) > 0
    share = min(float(found.masks.mean()), 0.5) if goes_on else None
    return Course(updates, balanced, share, ambiguity(found.masks))


def self_train(
    updater: Updater,
    images: Images,
    load: Callable[[Images], TrainLoader],
    at: Position,
    course: Course,
    keep: Callable[[Course, Totals], None] = lambda course, totals: None,
    advance: Callable[[Totals], bool] = lambda totals: False,
) -> bool:
    """Go to the end of a course; the pixel head learns from masks, which are drawn anew.

    In rounds that begin in the last quarter of the updates, in the last of several at least, masks
    are drawn as sharp as before the first.

    Args:
        updater: whose network has a pixel head; changed in place.
        images: of the training.
        load: makes the training's loader of them.
        at: the end of the training; order and augmentation go on from there.
        course: which, and where it stands.
        keep: called after each round, with what goes on from there and the sums over the round.
        advance: called after each update, with the sums over its round so far; True stops.

    Returns:
        whether it was stopped.

    Raises:
        NotFinite: a loss is infinite or not a number.
        ImageError: an image cannot be read.
    """
    network: Any = updater.network
    updates = course.updates
    once_more = {"schedule": "onecycle", "epochs": updates, "warmup_epochs": 0.0}
    optim = updater.recipe.optim.model_copy(update=once_more)
    balance = "always" if course.balanced else "never"
    loss = updater.recipe.loss.model_copy(update={"balance": balance})
    network.train()
    network.pixel_head.attached = True
    length = max(-(-updates // ROUNDS), SHORTEST)
    for first in range(course.done, updates, length):
        if first >= SHARP_FROM * updates or 0 < first >= updates - length:
            sharpen(updater, images, course.ambiguity)
        stream = _endless(load(taught_by(updater, images, course.share)), at.epoch + first)
        end, totals = min(first + length, updates), Totals()
        for done in range(first, end):
            size, batches = next(stream)
            rate = learning_rate(optim, done)
            updater.update(at.steps + done, size, batches, rate, loss, totals)
            stopped = advance(totals)
            if stopped and done + 1 < end:
                return True
        keep(replace(course, done=end), totals)
        if stopped and end < updates:
            return True
    network.pixel_head.attached = False
    return False


def sharpen(updater: Updater, images: Images, wanted: float) -> None:
    """Let the network draw masks that are as ambiguous as wanted, see `sharpening`."""
    factor = sharpening(sample_of(updater, images).masks, wanted)
    (total,) = updater.world.sum([factor])
    networks: set[Any] = {updater.network, updater.evaluated}
    for network in networks:
        network.pixel_head.sharpen(total / updater.world.size)


def _endless(loader: TrainLoader, epoch: int) -> Iterator[tuple[int, Iterator[Batch]]]:
    while True:
        yield from loader.epoch(epoch)
        epoch += 1
