"""One training step on one mini-batch: Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wsol_deploy.model.heads import Localization
from wsol_deploy.model.minmax import MinMaxNetwork
from wsol_deploy.train import losses
from wsol_deploy.train.erasing import accumulate, erase, near, trust
from wsol_deploy.train.evidence import mixed_losses, pixel_loss
from wsol_deploy.train.recipe import ErasingRecipe, LossRecipe

Around = AbstractContextManager[None]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did: each loss as a mean over the batch, and the work it took.

    Attributes:
        losses: name to value.
        passes: images forwarded through M.
        images: images in the batch.
        correct: images whose label M got right on the clean pass.
    """

    losses: dict[str, Tensor]
    passes: int
    images: int
    correct: Tensor


def training_step(
    network: MinMaxNetwork,
    x: Tensor,
    labels: Tensor,
    weights: LossRecipe,
    erasing: ErasingRecipe,
    backward: Callable[[Tensor], None],
    proceed: Callable[[int], bool] = bool,
    taught: Tensor | None = None,
) -> StepReport:
    """Accumulate the gradients of one mini-batch; the caller updates the parameters.

    With the mask detached, each recursion's gradient is accumulated at once and its graph freed,
    so the memory does not grow with u (Sec. A.1). A sample whose trust is zero stops: it is not
    forwarded again. The clean pass always counts (Eq. 9); an erased pass counts if it is trusted
    (line 12).

    Args:
        network: in training mode.
        x: normalised images, n x 3 x h x w.
        labels: n, int64; or of multi-label images n x c, see `losses.cross_entropy`.
        weights: of the loss's terms.
        erasing: u, sigma and whether the mask is attached to the graph.
        backward: accumulates a scalar's gradient.
        proceed: asked with the samples still running whether to erase once more; processes that
            share batch statistics must answer alike.
        taught: masks for the pixel head to learn from instead of the class maps, n x m x h x w in
            [0, 1]; with local evidence also on its mixed images, as the loss `mixed`.
    """
    n, size = len(x), (x.shape[2], x.shape[3])
    attached = erasing.mask_gradient == "attached"
    pending: list[Tensor] = []
    add = pending.append if attached else backward

    collected = x.new_zeros(n, 1, *size)
    erased = x
    running = torch.arange(n, device=x.device)
    localizer_loss = x.new_zeros(())
    terms: dict[str, Tensor] = {}
    passes = 0
    for t in range(erasing.u + 1):
        with torch.set_grad_enabled(attached or weights.localizer > 0 or taught is not None):
            found = _localize(network, erased[running], save_memory=attached and erasing.u > 0)
        loss = losses.cross_entropy(found.logits, labels[running])
        if t == 0:
            first_loss, correct = loss.detach(), losses.right(found.logits, labels)
            network.follow(_detach(found), size)
            if network.pixel_head is not None:
                terms["pixels"] = pixel_loss(network, _detach(found), size, weights, taught)
        psi = trust(
            t, found.logits.detach(), labels[running], loss.detach(), first_loss[running],
            erasing.sigma, erasing.tolerance,
        )  # fmt: skip
        trusted = psi > 0
        counted = (loss if t == 0 else loss[trusted]).sum() / n
        if t == 0 and "pixels" in terms:
            add(weights.localizer * counted + weights.pixels * terms["pixels"])
        elif weights.localizer:
            add(weights.localizer * counted)
        localizer_loss = localizer_loss + counted.detach()
        passes += len(running)
        with torch.set_grad_enabled(attached):
            mask = network.mask(found if attached else _detach(found), size)
            if erasing.u == 0:
                collected = mask
                break
            running, psi, mask = running[trusted], psi[trusted], mask[trusted]
            mask = mask * near(collected[running].detach(), erasing.reach)
            kept = accumulate(collected[running], psi, mask)
            collected = collected.index_copy(0, running, kept)
            erased = erased.index_copy(0, running, erase(erased[running], kept))
        if t < erasing.u and not proceed(len(running)):
            break

    plus, minus = _classify(network, x * collected, x * (1 - collected))
    foreground = losses.cross_entropy(plus, labels).mean()
    background = losses.uniform_cross_entropy(minus, labels).mean()
    total = weights.foreground * foreground + weights.background * background
    terms |= {"localizer": localizer_loss, "foreground": foreground, "background": background}
    if weights.size_barrier and attached:
        terms["size"] = losses.size_barrier(collected, weights.barrier_t).mean()
        total = total + weights.size_barrier * terms["size"]
    add(total)
    if attached:
        backward(torch.stack(pending).sum())
    if weights.local:
        mixed = mixed_losses(network, x, labels, weights, taught)
        terms |= mixed
        drawn = weights.pixels * mixed["mixed"] if "mixed" in mixed else 0
        backward(weights.local * mixed["local"] + drawn)
    report = {name: value.detach() for name, value in terms.items()}
    return StepReport(report, passes, n, correct.sum())


def _localize(network: MinMaxNetwork, x: Tensor, save_memory: bool) -> Localization:
    if save_memory:
        twice = partial(_both_passes, network)
        return checkpoint(network.localize, x, use_reentrant=False, context_fn=twice)
    return network.localize(x)


def _both_passes(network: MinMaxNetwork) -> tuple[Around, Around]:
    """What a pass, and its repetition for the gradient, run in."""
    return nullcontext(), _statistics_kept(network)


@contextmanager
def _statistics_kept(network: MinMaxNetwork) -> Iterator[None]:
    """Within it batch normalisation does not move its running statistics."""
    norms = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    momenta = [one.momentum for one in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _detach(found: Localization) -> Localization:
    return found._replace(class_maps=found.class_maps.detach(), logits=found.logits.detach())


def _classify(network: MinMaxNetwork, plus: Tensor, minus: Tensor) -> tuple[Tensor, Tensor]:
    """C on X+ and X-: one batch where batch norm allows, else each with its own statistics."""
    if network.batch_norm_frozen:
        first, second = network.classify(torch.cat([plus, minus])).chunk(2)
        return first, second
    return network.classify(plus), network.classify(minus)
