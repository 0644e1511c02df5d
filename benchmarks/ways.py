"""Ways that were tried and not kept, and what erasing does: trainings through the usual commands.

    python benchmarks/ways.py probe reproduce synthetic quickstart/data --row minmax-default -o OUT

The first word is the way, the rest is a command of `wsol` that trains. Its runs look like those of
the recipe as it is, so each way needs an --output of its own. What `shared` trained is read
rightly by this script alone.

    probe   in the first quarter of the epochs the backbone rests, the heads alone learn, and the
            classifier only after them (linear probe, then fine-tuning, Kumar et al. 2022)
    omega   the slope of the pseudo-threshold (Eq. 11) rises from a quarter of its value; a pixel
            head does not see it, so take a row without (plain)
    sigma   its centre moves from 0.7 to its value, so the mask grows from the surest places
    crf     the pixel head's loss plus the gated CRF loss (Obukhov et al. 2019)
    ncut    the same with the normalised cut (Tang et al. 2018)
    shared  the classifier has no head of its own but the localizer's
    relative  an erased image is trusted while its loss is at most twice the clean one's, not at
            most the clean one's (Eq. 14); take a row with erasing (plus-erasing of synthetic,
            minmax-u4 of glas and animals), as for `hard`
    counted   erasing as it is; at the end, of the first and of the last epoch, how many images of a
            batch come to each depth, and for how many the label is right, the loss is not above
            the clean one's, and both: Eq. 14
    hard    what is collected above half of its highest is erased whole, the rest not at all; for
            a detached mask, since it passes no gradient on
"""

from __future__ import annotations

import atexit
import sys
from collections import defaultdict
from collections.abc import Callable

import torch
from selftraining import crf, likeness, neighbours
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.cli import main
from wsol_deploy.model import resampling
from wsol_deploy.model.heads import Localization
from wsol_deploy.model.masks import soft_mask
from wsol_deploy.model.minmax import MinMaxNetwork
from wsol_deploy.train import loop, step, steps
from wsol_deploy.train.losses import right
from wsol_deploy.train.recipe import LossRecipe, OptimRecipe

done = 0.0  # 0 in the first epoch, 1 in the last
images = torch.empty(0)  # of the batch at hand, normalised


def keep_time() -> None:
    weights_of = loop.loss_weights

    def loss_weights(recipe: OptimRecipe, loss: LossRecipe, epoch: int) -> LossRecipe:
        global done
        done = epoch / max(1, recipe.epochs - 1)
        return weights_of(recipe, loss, epoch)

    loop.loss_weights = loss_weights


def probe() -> None:
    weights_of = loop.loss_weights
    update = loop.Updater.update

    def loss_weights(recipe: OptimRecipe, loss: LossRecipe, epoch: int) -> LossRecipe:
        weights = weights_of(recipe, loss, epoch)
        return weights.model_copy(
            update={"foreground": 0.0, "background": 0.0} if resting() else {}
        )

    def updated(updater: loop.Updater, *given: object) -> None:
        updater.network.backbone.requires_grad_(not resting())
        update(updater, *given)

    loop.loss_weights, loop.Updater.update = loss_weights, updated


def resting() -> bool:
    return done < 0.25


def scheduled(slope: Callable[[float], float], centre: Callable[[float], float]) -> None:
    """Eq. 11 in training with a slope and a centre that depend on the time."""
    final = MinMaxNetwork.evidence

    def over_time(network: MinMaxNetwork, found: Localization, size: tuple[int, int]) -> Tensor:
        if not network.training:
            return final(network, found, size)
        t = network.lay_rescaled(network.regions(found), size)
        config = network.config
        return network.if_shown(
            soft_mask(t, slope(config.omega), centre(config.sigma_prime)), found
        )

    MinMaxNetwork.evidence = over_time


def omega() -> None:
    scheduled(lambda slope: slope * (0.25 + 0.75 * done), lambda centre: centre)


def sigma() -> None:
    scheduled(lambda slope: slope, lambda centre: 0.7 + (centre - 0.7) * done)


def regularised(prior: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The pixel head's loss plus a prior on its logits, given how alike the image's places are.

    Not on mixed images: take `training.self_training=0`.
    """
    take_step, head_loss = step.training_step, step.pixel_loss

    def training_step(network: MinMaxNetwork, x: Tensor, *given: object) -> step.StepReport:
        global images
        images = x
        return take_step(network, x, *given)

    def pixel_loss(network: MinMaxNetwork, found: Localization, *given: object) -> Tensor:
        logits = network.pixels(found)
        colours = F.interpolate(images, size=logits.shape[2:], mode="area") * 0.25  # near [0, 1]
        return head_loss(network, found, *given) + prior(logits, likeness(colours))

    steps.training_step = training_step
    step.pixel_loss = pixel_loss


def normalised_cut(logits: Tensor, alike: Tensor) -> Tensor:
    """The sum over foreground and background of what is cut from it, by its volume."""
    foreground = logits.sigmoid()
    volume = alike.sum(dim=1, keepdim=True)
    cuts = []
    for region in (foreground, 1 - foreground):
        cut = (alike[:, None] * region[:, :, None] * (1 - neighbours(region))).sum(dim=(2, 3, 4))
        cuts.append(cut / (volume * region).sum(dim=(2, 3)).clamp(min=1))
    return torch.stack(cuts).sum(dim=0).mean()


def shared() -> None:
    init = MinMaxNetwork.__init__

    def made(network: MinMaxNetwork, *given: object) -> None:
        init(network, *given)
        del network.classifier

    def classify(network: MinMaxNetwork, masked: Tensor) -> Tensor:
        size = resampling.scaled(masked.shape[2:], network.config.classifier_scale)
        return network.localizer(network.features(resampling.bilinear(masked, size))).logits

    MinMaxNetwork.__init__, MinMaxNetwork.classify = made, classify


def relative() -> None:
    trust = step.trust

    def trusted(
        t: int, logits: Tensor, labels: Tensor, loss: Tensor, first: Tensor, *given: float
    ) -> Tensor:
        return trust(t, logits, labels, loss, 2 * first, *given)

    step.trust = trusted


def counted() -> None:
    trust = step.trust
    seen: dict[tuple[float, int], Tensor] = defaultdict(lambda: torch.zeros(4, dtype=torch.long))

    def trusted(
        t: int, logits: Tensor, labels: Tensor, loss: Tensor, first: Tensor, *given: float
    ) -> Tensor:
        psi = trust(t, logits, labels, loss, first, *given)
        held = (torch.ones_like(psi), right(logits, labels), loss <= first, psi > 0)
        seen[done, t] += torch.stack([which.sum().cpu().long() for which in held])
        return psi

    def report() -> None:
        print(f"{'epoch':>6} {'depth':>5} {'images':>7} {'label %':>8} {'loss %':>7} {'both %':>7}")
        for (when, t), (images, *held) in sorted(seen.items()):
            if when in (0, 1) and t > 0:
                shares = " ".join(f"{100 * one / images:7.1f}" for one in held)
                print(f"{'last' if when else 'first':>6} {t:>5} {images:>7}  {shares}")

    step.trust = trusted
    atexit.register(report)


def hard() -> None:
    def erase(x: Tensor, collected: Tensor) -> Tensor:
        return x * (collected <= 0.5 * collected.amax(dim=(2, 3), keepdim=True))

    step.erase = erase


WAYS = {
    "probe": probe,
    "omega": omega,
    "sigma": sigma,
    "crf": lambda: regularised(crf),
    "ncut": lambda: regularised(normalised_cut),
    "shared": shared,
    "relative": relative,
    "counted": counted,
    "hard": hard,
}


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in WAYS or not {"-o", "--output"} & set(sys.argv):
        sys.exit(__doc__)
    keep_time()
    WAYS[sys.argv.pop(1)]()
    main()
