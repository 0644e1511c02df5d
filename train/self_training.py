"""Self-training: after the last epoch the pixel head learns anew, from the masks it drew itself.

In training a head follows features and class maps that still change. A new one starts from the
finished masks at once (born-again networks, Furlanello et al. 2018; pseudo-labels, Lee 2013), each
the mean over the image and its mirror images, in which the errors of the one view cancel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsol_deploy.model.deploy import VIEWS
from wsol_deploy.model.heads import Localization
from wsol_deploy.train.losses import extremes_cross_entropy
from wsol_deploy.train.recipe import OptimRecipe
from wsol_deploy.train.schedule import learning_rate

RATE = 0.01
REMEMBERED = 2**30  # bytes of lessons: some ten megabytes each, at 640 pixels


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


def self_train(
    network: Any,
    image: Callable[[int], Tensor],
    images: int,
    steps: int,
    extremes: float,
    seed: int,
    advance: Callable[[], bool] = lambda: False,
) -> bool:
    """Teach the pixel head anew, an image an update; nothing else of the network changes.

    Args:
        network: a MinMaxNetwork with a pixel head, in evaluation mode.
        image: one by its number, normalised, 1 x 3 x h x w.
        images: how many there are.
        steps: updates.
        extremes: see `extremes_cross_entropy`.
        seed: of the new head and of the order.
        advance: called after each update; True stops.

    Returns:
        whether it was stopped; the network is then as it was.
    """

    remembered: dict[int, tuple[Localization, Tensor]] = {}
    room = REMEMBERED

    def lesson(number: int) -> tuple[Localization, Tensor]:
        nonlocal room
        if number in remembered:
            return remembered[number]
        x = image(number)
        with torch.no_grad():
            found, masks = network.localize(x), own_masks(network, x)
        size = masks.nbytes + sum(maps.nbytes for maps in found if maps is not None)
        if size <= room:
            room -= size
            remembered[number] = found, masks
        return found, masks

    student = copy.deepcopy(network)
    torch.manual_seed(seed)
    student.pixel_head.restart()
    optimizer = torch.optim.AdamW(student.pixel_head.parameters(), RATE)
    schedule = OptimRecipe(schedule="onecycle", lr=RATE, epochs=max(steps, 1))
    for step, number in enumerate(np.random.default_rng(seed).integers(images, size=steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(schedule, step)
        found, masks = lesson(int(number))
        optimizer.zero_grad()
        extremes_cross_entropy(student.pixels(found), masks, extremes).mean().backward()
        optimizer.step()
        if advance():
            return True
    network.pixel_head.load_state_dict(student.pixel_head.state_dict())
    return False
