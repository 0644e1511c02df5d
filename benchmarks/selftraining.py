"""Do masks gain when the pixel head learns again, from the model's own confident masks?

    python benchmarks/selftraining.py CHECKPOINT DATA --rounds 2
    python benchmarks/selftraining.py CHECKPOINT DATA --truth

In a round the model draws the masks of the training images, each the mean over the image's four
flips, and moves their logits so that the card's threshold is at 0.5; then its pixel head starts
anew and learns from their --extremes as it did from those of the class maps. Prints the
figures on the test images, in percent, at the threshold fitted on the validation masks, before and
after each round. The classifier does not learn again. With --truth it learns once, from the true
masks: about the best that this head on these features can draw.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from figures import HEAD, line
from torch import Tensor

from wsol_deploy import images
from wsol_deploy.card import ModelCard
from wsol_deploy.datasets.base import Sample
from wsol_deploy.evaluation.held_out import select
from wsol_deploy.model import checkpoint
from wsol_deploy.model.deploy import VIEWS, DeployedModel
from wsol_deploy.model.heads import Localization
from wsol_deploy.model.minmax import MinMaxNetwork
from wsol_deploy.train.losses import extremes_cross_entropy

RATE = 0.01


@dataclass(frozen=True)
class Lesson:
    """An image as the pixel head sees it, and the mask (1 x m x H x W) that it learns from."""

    found: Localization
    mask: Tensor


@torch.no_grad()
def lesson(network: MinMaxNetwork, card: ModelCard, sample: Sample, *, truth: bool) -> Lesson:
    pixels = images.fit(sample.read_image(), card.input.size)
    x = DeployedModel(network).normalise(torch.from_numpy(pixels.copy())[None])
    mask = true_mask(card, sample) if truth else own_mask(network, card, x)
    return Lesson(network.localize(x), mask)


def true_mask(card: ModelCard, sample: Sample) -> Tensor:
    planes = np.repeat(sample.read_mask()[:, :, None] * np.uint8(255), 3, axis=2)
    mask = images.fit(planes, card.input.size)[:, :, 0]
    return torch.from_numpy(mask > 127)[None, None].float()


def own_mask(network: MinMaxNetwork, card: ModelCard, x: Tensor) -> Tensor:
    size = (x.shape[2], x.shape[3])
    views = [network.masks(network.localize(x.flip(axes)), size).flip(axes) for axes in VIEWS]
    threshold = torch.tensor(card.threshold.value)
    logits = torch.stack(views).mean(dim=0).logit(eps=1e-6)
    return (logits - threshold.logit()).sigmoid()


def learn(network: MinMaxNetwork, lessons: list[Lesson], steps: int, extremes: float) -> None:
    """Start the pixel head anew and teach it, an image a step."""
    head = network.pixel_head
    head.hidden.reset_parameters()
    head.logit.reset_parameters()
    optimizer = torch.optim.AdamW(head.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for at in np.random.default_rng(0).integers(len(lessons), size=steps):
        one = lessons[at]
        optimizer.zero_grad()
        logits = network.pixels(one.found)
        extremes_cross_entropy(logits, one.mask, extremes).mean().backward()
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
    parser.add_argument("--truth", action="store_true", help="learn from the true masks, once")
    asked = parser.parse_args()
    network, card = checkpoint.load(asked.checkpoint)
    samples = select(asked.data, card, subset="train").dataset.samples
    print(HEAD)
    print(line("as it is", asked.checkpoint, asked.data), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        student = Path(folder) / "student.safetensors"
        for number in range(1, 2 if asked.truth else asked.rounds + 1):
            torch.manual_seed(0)
            lessons = [lesson(network, card, one, truth=asked.truth) for one in samples]
            learn(network, lessons, asked.steps, asked.extremes)
            checkpoint.save(student, network, card)
            print(line(f"round {number}", student, asked.data), flush=True)


if __name__ == "__main__":
    main()
