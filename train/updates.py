"""From batches to updated weights: accumulation, scaling, clipping, the optimizer, the average."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wsol_deploy.errors import WsolError
from wsol_deploy.train.loader import Batch
from wsol_deploy.train.recipe import LossRecipe, Recipe
from wsol_deploy.train.step import StepReport
from wsol_deploy.train.steps import step_of
from wsol_deploy.train.world import World

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class NotFinite(WsolError):
    """A loss became infinite or not a number."""


@dataclass
class Totals:
    """Sums over the images of an epoch so far."""

    images: float = 0.0
    passes: float = 0.0
    correct: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)

    def add(self, report: StepReport) -> None:
        """Count a step."""
        self.images += report.images
        self.passes += report.passes
        self.correct += float(report.correct)
        for name, value in report.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + float(value) * report.images

    def over(self, world: World) -> Totals:
        """Summed over all processes."""
        names = sorted(self.losses)
        values = [self.images, self.passes, self.correct, *(self.losses[name] for name in names)]
        images, passes, correct, *losses = world.sum(values)
        return Totals(images, passes, correct, dict(zip(names, losses, strict=True)))

    def means(self) -> dict[str, float]:
        """Each loss, the localizer's error and the passes of M, an image."""
        images = max(self.images, 1.0)
        means = {name: value / images for name, value in self.losses.items()}
        return means | {"error": 1 - self.correct / images, "passes": self.passes / images}


class Updater:
    """Everything that changes the weights, and all that must be stored to go on.

    Args:
        network: on the world's device; changed in place.
        recipe: of the training.
        world: the processes whose gradients are summed.
    """

    def __init__(self, network: Any, recipe: Recipe, world: World) -> None:
        self.network, self.recipe, self.world = network, recipe, world
        self.parameters = [one for one in network.parameters() if one.requires_grad]
        self.optimizer = _optimizer(network, recipe)
        self.dtype = DTYPES[recipe.training.precision]
        self.scaler = torch.amp.GradScaler(
            world.device.type, enabled=recipe.training.precision == "fp16"
        )
        self.synchronised = any(isinstance(m, nn.SyncBatchNorm) for m in network.modules())
        self.step = step_of(network, recipe, self._proceed)
        self.average = copy.deepcopy(network).eval() if recipe.training.ema else None
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(network.backbone.mean, device=world.device).view(shape)
        self._std = torch.tensor(network.backbone.std, device=world.device).view(shape)

    def forget(self) -> None:
        """Drop what the optimizer gathered of earlier gradients."""
        self.optimizer = _optimizer(self.network, self.recipe)

    @property
    def evaluated(self) -> nn.Module:
        """The network to validate and to save: the averaged one where there is one."""
        return self.network if self.average is None else self.average

    def pixels(self, x: Tensor) -> Tensor:
        """uint8 images on the device and normalised, as in the deployed graph."""
        if self.world.device.type == "cuda":
            x = x.pin_memory()
        x = (x.to(self.world.device, non_blocking=True).float() / 255 - self._mean) / self._std
        if self.recipe.training.channels_last:
            return x.contiguous(memory_format=torch.channels_last)
        return x.contiguous()

    def update(
        self,
        number: int,
        images: int,
        batches: Iterable[Batch],
        rate: float,
        weights: LossRecipe,
        totals: Totals,
    ) -> None:
        """One update of the weights.

        Args:
            number: updates before this one; with the seed it decides the dropout.
            images: in this update, over all batches and processes.
            batches: this process's part of them.
            rate: learning rate of the backbone.
            weights: of the losses.
            totals: to count into.

        Raises:
            NotFinite: a loss is infinite or not a number, in any process; no weight was updated.
        """
        seed = [self.recipe.training.seed, number, self.world.rank]
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        trouble = ""
        for batch in batches:
            share = len(batch.labels) / images

            def backward(loss: Tensor, share: float = share) -> None:
                with torch.autocast(self.world.device.type, enabled=False):
                    self.scaler.scale(loss * share).backward()

            with self._autocast():
                report = self.step(self._on_device(batch), weights, backward)
            totals.add(report)
            trouble = trouble or _not_finite(report)
        if any(self.world.sum([bool(trouble)])):
            raise NotFinite(trouble or "a loss is not finite in another process")
        self.world.sum_gradients(self.parameters)
        if self.recipe.optim.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.optim.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.world.average_buffers(self.network)
        if self.average is not None:
            _follow(self.average, self.network, self.recipe.training.ema)

    def _on_device(self, batch: Batch) -> Batch:
        device = self.world.device
        masks = None if batch.masks is None else batch.masks.to(device)
        return Batch(self.pixels(batch.x), batch.labels.to(device), batch.indices, masks)

    def _proceed(self, running: int) -> bool:
        return any(self.world.sum([running])) if self.synchronised else bool(running)

    def _autocast(self) -> torch.autocast:
        enabled = self.dtype != torch.float32
        return torch.autocast(self.world.device.type, self.dtype, enabled=enabled)


def _optimizer(network: Any, recipe: Recipe) -> torch.optim.Optimizer:
    optim = recipe.optim
    factors = {"backbone": 1.0, "pixel_head": optim.pixel_lr_factor}
    parts: dict[float, list[Tensor]] = {}
    for name, one in network.named_parameters():
        if one.requires_grad:
            factor = factors.get(name.partition(".")[0], optim.head_lr_factor)
            parts.setdefault(factor, []).append(one)
    groups = [{"params": members, "factor": factor} for factor, members in parts.items()]
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, weight_decay=optim.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=optim.lr,
        momentum=optim.momentum,
        nesterov=optim.nesterov,
        weight_decay=optim.weight_decay,
    )


def _not_finite(report: StepReport) -> str:
    """Which loss is infinite or not a number, in words; empty if none is."""
    for name, value in report.losses.items():
        if not torch.isfinite(value):
            return f"the loss {name} is {float(value)}"
    return ""


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)
