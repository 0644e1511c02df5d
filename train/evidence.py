"""Local evidence: what can be decided from one place alone.

A localizer that sees whole images learns to answer everywhere, from context. Composing images of
tiles of many (CutMix, Yun et al. 2019, on a grid) and asking for each location's own label takes
the context away: a location is decided only by what is there, and what all classes share stays
undecided. This is the decidable region of Sec. 3.1, learned at the localizer.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.model.minmax import Localization, MinMaxNetwork
from wsol_deploy.train.losses import extremes_cross_entropy, taught_cross_entropy
from wsol_deploy.train.recipe import LossRecipe


def mix_tiles(x: Tensor, tiles: int) -> tuple[Tensor, Tensor]:
    """Compose images of tiles, each from any image of the batch, each where it was.

    The grid begins at a random place, so that no pixel is always at an edge.

    Args:
        x: n x 3 x h x w.
        tiles: along each side.

    Returns:
        mixed: n x 3 x h x w.
        source: n x 1 x h x w, int64, the image each pixel is from.
    """
    n, _, height, width = x.shape
    grid = torch.randint(n, (n, 1, tiles, tiles))
    source = F.interpolate(grid.float(), size=(height, width), mode="nearest").long()
    down, right = (int(torch.randint(side, ())) for side in (height, width))
    source = source.roll((down, right), dims=(2, 3)).to(x.device)
    return x.take_along_dim(source.expand_as(x), dim=0), source


def local_cross_entropy(class_maps: Tensor, source: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each location's posterior with its own label, or labels.

    Args:
        class_maps: A of the mixed images, n x c x h' x w'.
        source: n x 1 x h x w, int64, the image each pixel is from.
        labels: of each image, n, or n x c as in `losses.cross_entropy`.

    Returns:
        n: the mean over locations; a location astride an edge has each label by its share.
    """
    size = (class_maps.shape[2], class_maps.shape[3])
    images = F.one_hot(source[:, 0], len(labels)).movedim(3, 1).float()
    several = labels.dim() == 2
    classes = labels if several else F.one_hot(labels, class_maps.shape[1]).float()
    share = torch.einsum("nihw,ic->nchw", F.adaptive_avg_pool2d(images, size), classes)
    if several:
        return F.binary_cross_entropy_with_logits(class_maps.float(), share, reduction="none").mean(
            dim=(1, 2, 3)
        )
    return -(share * F.log_softmax(class_maps.float(), dim=1)).sum(dim=1).mean(dim=(1, 2))


def mixed_losses(
    network: MinMaxNetwork,
    x: Tensor,
    labels: Tensor,
    weights: LossRecipe,
    taught: Tensor | None = None,
) -> dict[str, Tensor]:
    """The losses of a freshly mixed batch, means over it.

    Args:
        network: in training mode.
        x: normalised images, n x 3 x h x w.
        labels: n, or n x c as in `losses.cross_entropy`.
        weights: its `tiles`, and those of `pixel_loss`.
        taught: soft masks of the images, n x m x h x w in [0, 1]; the pixel head learns them where
            their tiles are now (CutMix in self-training, French et al. 2020), if `balance` is
            `always`: tiles of single large objects say little of what they are.

    Returns:
        `local`, and with masks `mixed`, the pixel head's.
    """
    mixed, source = mix_tiles(x, weights.tiles)
    if taught is None or weights.balance != "always":
        return {"local": local_cross_entropy(network.class_maps(mixed), source, labels).mean()}
    found = network.localize(mixed)
    masks = taught.take_along_dim(source.expand_as(taught), dim=0)
    return {
        "local": local_cross_entropy(found.class_maps, source, labels).mean(),
        "mixed": pixel_loss(network, found, (x.shape[2], x.shape[3]), weights, masks),
    }


def pixel_loss(
    network: MinMaxNetwork,
    found: Localization,
    size: tuple[int, int],
    weights: LossRecipe,
    taught: Tensor | None = None,
) -> Tensor:
    """The pixel head's mean cross-entropy with the extremes of the class maps, or with masks.

    With `bootstrap` it learns in part from the mask it draws itself (Reed et al. 2015), so that
    what looks like the places decided in other images counts where the class maps say little. Class
    maps fade towards the border of an image, which says nothing of what is there, so of a
    margin nothing is asked.

    Args:
        network: with a pixel head.
        found: of the pass that the head reads; without `taught` class maps and logits detached.
        size: (h, w) of the images.
        weights: its `extremes`, `margin`, `bootstrap` and `balance`, where `auto` is `never`.
        taught: soft masks to learn from instead, everywhere, n x m x h x w in [0, 1].
    """
    logits = network.pixels(found)
    evidence = network.evidence(found, size) if taught is None else taught
    if weights.bootstrap and taught is None:
        own = network.drawn(logits.detach(), found, size)
        evidence = evidence.lerp(own, weights.bootstrap)
    assert network.pixel_head is not None
    stride = network.pixel_head.stride
    margin = min(weights.margin, *(side // 4 for side in size)) // stride
    if margin:
        logits, evidence = _inside(logits, margin), _inside(evidence, margin * stride)
    if taught is not None:
        return taught_cross_entropy(logits, evidence, weights.balance == "always").mean()
    return extremes_cross_entropy(logits, evidence, weights.extremes).mean()


def _inside(maps: Tensor, margin: int) -> Tensor:
    return maps[:, :, margin:-margin, margin:-margin]
