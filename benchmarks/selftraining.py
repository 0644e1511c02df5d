"""Do masks gain when the pixel head learns again, from another teacher than in the training?

    python benchmarks/selftraining.py CHECKPOINT DATA --rounds 2 --surest 0.5
    python benchmarks/selftraining.py CHECKPOINT DATA --teacher maps --crf 1
    python benchmarks/selftraining.py CHECKPOINT DATA --teacher truth --only benign

In a round the pixel head starts anew and learns, on whole training images, from
the extremes of a teacher's masks (up to the images' borders, where our recipes leave a margin). The
teacher is the model's own masks, each the mean over the image's four flips with the card's
threshold moved to 0.5; the class maps of the finished model (--teacher maps); or the true masks
(--teacher truth), which tells about the best that this head on these features can draw. Neither of
these two changes, so they have one round. Prints the figures on the test images, in percent, at
the threshold fitted on the validation masks, before and after each round. The classifier does not
learn again.

--only takes the training images of one class, --surest only so large a share of them: those whose
masks tell inside from outside best, as the card's mask contrast has it. --crf adds the gated CRF
loss (Obukhov et al. 2019) with this weight: neighbours alike in colour are asked to be alike in the
mask.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from figures import HEAD, line
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy import images
from wsol_deploy.card import ModelCard
from wsol_deploy.datasets.base import Sample
from wsol_deploy.evaluation.held_out import select
from wsol_deploy.model import checkpoint
from wsol_deploy.model.deploy import DeployedModel
from wsol_deploy.model.heads import Localization
from wsol_deploy.model.minmax import MinMaxNetwork
from wsol_deploy.runtime.trust import contrast
from wsol_deploy.train.losses import extremes_cross_entropy
from wsol_deploy.train.self_training import own_masks

RATE = 0.01
RADIUS = 5  # cells, of the gated CRF
COLOUR = 0.1  # standard deviation of the difference between colours that are alike
PLACE = 3.0  # the same of places, in cells
Teacher = Callable[[MinMaxNetwork, ModelCard, Sample, Tensor], Tensor]


@dataclass(frozen=True)
class Lesson:
    """An image as the pixel head sees it, and the mask (1 x m x H x W) that it learns from.

    Attributes:
        alike: how much each of the head's cells resembles each neighbour, n x neighbours x h x w.
    """

    found: Localization
    mask: Tensor
    alike: Tensor


@torch.no_grad()
def lesson(network: MinMaxNetwork, card: ModelCard, sample: Sample, teacher: Teacher) -> Lesson:
    pixels = torch.from_numpy(images.fit(sample.read_image(), card.input.size).copy())[None]
    x = DeployedModel(network).normalise(pixels)
    found = network.localize(x)
    cells = network.pixels(found).shape[2:]
    colours = F.interpolate(pixels.movedim(3, 1).float() / 255, size=cells, mode="area")
    return Lesson(found, teacher(network, card, sample, x), likeness(colours))


def likeness(colours: Tensor) -> Tensor:
    """By colour and place, of cells n x 3 x h x w in [0, 1]; 1 in all for a cell, in the mean."""
    around = neighbours(colours)
    apart = (around - colours[:, :, None]).square().sum(dim=1)
    steps = torch.arange(-RADIUS, RADIUS + 1, device=colours.device).float().square()
    far = (steps[:, None] + steps).flatten()[:, None, None]
    alike = torch.exp(-apart / (2 * COLOUR**2) - far / (2 * PLACE**2)) * (far > 0)
    return alike / alike.sum(dim=1).mean()


def neighbours(maps: Tensor) -> Tensor:
    """n x c x h x w to n x c x neighbours x h x w; over the border the border's."""
    side = 2 * RADIUS + 1
    padded = F.pad(maps, (RADIUS,) * 4, mode="replicate")
    return F.unfold(padded, side).view(*maps.shape[:2], side**2, *maps.shape[2:])


def crf(logits: Tensor, alike: Tensor) -> Tensor:
    """How often alike neighbours differ in the mask, expected under the head's probabilities."""
    here = logits.sigmoid()[:, :, None]
    there = neighbours(logits.sigmoid())
    differ = here * (1 - there) + (1 - here) * there
    return (alike[:, None] * differ).sum(dim=2).mean()


def true_mask(network: MinMaxNetwork, card: ModelCard, sample: Sample, x: Tensor) -> Tensor:
    planes = np.repeat(sample.read_mask()[:, :, None] * np.uint8(255), 3, axis=2)
    mask = images.fit(planes, card.input.size)[:, :, 0]
    return torch.from_numpy(mask > 127)[None, None].float()


def class_maps(network: MinMaxNetwork, card: ModelCard, sample: Sample, x: Tensor) -> Tensor:
    return network.evidence(network.localize(x), (x.shape[2], x.shape[3]))


def own_mask(network: MinMaxNetwork, card: ModelCard, sample: Sample, x: Tensor) -> Tensor:
    threshold = torch.tensor(card.threshold.value)
    logits = own_masks(network, x).logit(eps=1e-6)
    return (logits - threshold.logit()).sigmoid()


TEACHERS = {"own": own_mask, "maps": class_maps, "truth": true_mask}


def one_sided(mask: Tensor) -> bool:
    return bool((mask > 0.5).all() or (mask <= 0.5).all())


def surest(lessons: list[Lesson], share: float) -> list[Lesson]:
    def doubt(one: Lesson) -> float:
        return 1.0 if one_sided(one.mask) else -contrast(one.mask.numpy(), 0.5)

    ordered = sorted(lessons, key=doubt)
    return ordered[: max(1, round(share * len(ordered)))]


def learn(
    network: MinMaxNetwork, lessons: list[Lesson], steps: int, extremes: float, smoothness: float
) -> None:
    """Start the pixel head anew and teach it, an image a step."""
    for part in (network.pixel_head.hidden, network.pixel_head.logit):
        part.reset_parameters()
    optimizer = torch.optim.AdamW(network.pixel_head.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for at in np.random.default_rng(0).integers(len(lessons), size=steps):
        one = lessons[at]
        optimizer.zero_grad()
        logits = network.pixels(one.found)
        loss = extremes_cross_entropy(logits, one.mask, extremes).mean()
        if smoothness:
            loss = loss + smoothness * crf(logits, one.alike)
        loss.backward()
        optimizer.step()
        schedule.step()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--extremes", type=float, default=0.2)
    parser.add_argument("--teacher", choices=TEACHERS, default="own")
    parser.add_argument("--only", metavar="CLASS", help="of the training images, those of it")
    parser.add_argument("--surest", type=float, default=1.0)
    parser.add_argument("--crf", type=float, default=0.0)
    asked = parser.parse_args()
    if asked.surest < 1 and asked.teacher != "own":
        parser.error("--surest chooses among the model's own masks: take --teacher own")
    network, card = checkpoint.load(asked.checkpoint)
    samples = select(asked.data, card, subset="train").dataset.samples
    if asked.only:
        if asked.only not in card.classes:
            parser.error(f"--only {asked.only}: the classes are {', '.join(card.classes)}")
        samples = [one for one in samples if card.classes[one.label] == asked.only]
    print(HEAD)
    print(line("as it is", asked.checkpoint, asked.data), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        student = Path(folder) / "student.safetensors"
        for number in range(1, asked.rounds + 1 if asked.teacher == "own" else 2):
            torch.manual_seed(0)
            lessons = [lesson(network, card, one, TEACHERS[asked.teacher]) for one in samples]
            lessons = surest(lessons, asked.surest)
            learn(network, lessons, asked.steps, asked.extremes, asked.crf)
            checkpoint.save(student, network, card)
            print(line(f"round {number}", student, asked.data), flush=True)


if __name__ == "__main__":
    main()
