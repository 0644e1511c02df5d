"""The training: epochs, validation, checkpoints, and going on where a run stopped."""

from __future__ import annotations

import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wsol_deploy.datasets.base import Dataset
from wsol_deploy.errors import DataError, ImageError
from wsol_deploy.model.build import build
from wsol_deploy.runs import LAST
from wsol_deploy.train.cards import make_card
from wsol_deploy.train.check import cannot_be_read
from wsol_deploy.train.display import Display
from wsol_deploy.train.loader import Images, TrainLoader, many_hot, the_label, whole_images
from wsol_deploy.train.methods import SUPERVISED
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.records import Records, weights_of_last_epoch
from wsol_deploy.train.schedule import learning_rate, loss_weights
from wsol_deploy.train.self_training import begin, self_train
from wsol_deploy.train.state import FILE as STATE
from wsol_deploy.train.state import Course, Position, load_course, load_state, stored_course
from wsol_deploy.train.updates import NotFinite, Totals, Updater
from wsol_deploy.train.validation import Score, validate
from wsol_deploy.train.world import World

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Attributes:
        folder: of the run.
        position: where it stands.
        kept: the epoch, from 1, whose weights are the run's model.
        interrupted: it was asked to stop before its end.
        self_trained: that epoch's weights went on to learn from their own masks.
        course: where a self-training stands that was stopped; None if none was.
    """

    folder: Path
    position: Position
    kept: int
    interrupted: bool
    self_trained: bool
    course: Course | None


def train(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    *,
    world: World = World(),
    stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
) -> Outcome:
    """Train, or go on with the training whose state is in the folder.

    After every epoch the folder holds best.safetensors (the model of the run, see
    `TrainingRecipe.keep`), last.safetensors, state.safetensors and metrics.csv, after a
    self-training's rounds self-training.csv too. An epoch that `max_steps` cuts short is the run's
    model only if none has ended.

    Args:
        recipe: of the training.
        dataset: with its splits.
        folder: of the run.
        world: the processes that train together.
        stop: asked after each update; True saves and returns. A self-training is saved after each
            round, and goes on from there.
        quiet: no progress.

    Raises:
        NotFinite: a loss became infinite or not a number.
        DataError: images cannot be read; it names them all.
        WsolError: the network cannot be built, the run cannot be written.
    """
    make_deterministic()
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(recipe, dataset, folder, world, quiet)
    with run.display:
        try:
            run.check_validation()
            interrupted = run.epochs(stop) or run.self_training(stop)
        except ImageError as error:
            raise run.unreadable(error) from error
    self_trained = not interrupted and run.self_trained
    return Outcome(folder, run.position, run.kept, interrupted, self_trained, run.course)


class _Run:
    """One training in one process."""

    def __init__(
        self, recipe: Recipe, dataset: Dataset, folder: Path, world: World, quiet: bool
    ) -> None:
        self.recipe, self.folder, self.world = recipe, folder, world
        self.updater = Updater(_network(recipe, len(dataset.classes), world), recipe, world)
        policy = recipe.data.size.policy
        fingerprint = dataset.fingerprint()
        masks = recipe.model.method in SUPERVISED
        several = recipe.model.task == "multi-label"
        target = many_hot(len(dataset.classes)) if several else the_label
        self.valid = Images(dataset.subset("valid").samples, policy, masks=masks, target=target)
        samples = dataset.subset("train").samples
        self.images = Images(samples, policy, masks=masks, target=target)
        self.loader = self._load(self.images)
        self.position = Position()
        self.course: Course | None = None
        if (folder / STATE).is_file():
            self.position = load_state(folder, self.updater, fingerprint.sha256)
            if not world.leads:
                self.position.totals = Totals()
        self.display = Display(quiet or not world.leads, recipe.optim.epochs, len(self.loader))
        self.records: Records | None = None
        if world.leads:
            card = make_card(recipe, dataset, fingerprint, self.updater.network.outputs)
            self.records = Records(folder, card, self.updater, self.valid, self.position)

    def check_validation(self) -> None:
        """Meet broken validation images now, not after an epoch; those that fit stay decoded.

        Raises:
            ImageError: some cannot be read.
        """
        broken = self.valid.unreadable() if self.world.leads else []
        if any(self.world.sum([bool(broken)])):
            raise ImageError("; ".join(broken))

    def epochs(self, stop: Callable[[], bool]) -> bool:
        """Train to the end; True if asked to stop before."""
        while not self._done():
            started = time.perf_counter() - self.position.seconds
            if self._epoch(stop):
                self.position.seconds = time.perf_counter() - started
                self.position.totals = self.position.totals.over(self.world)
                if self.records is not None:
                    self.records.stopped(self.position)
                self.world.wait()
                return True
            self._end_epoch(started)
        return False

    def self_training(self, stop: Callable[[], bool]) -> bool:
        """Where the recipe asks for it and it is not done yet; True if asked to stop before."""
        if self.records is not None and self._asked and not self._teaches:
            logger.info("self-training follows whole epochs: left out, max_steps cut one short")
        wanted = self._teaches and self.records is not None and self.records.untaught
        if not any(self.world.sum([wanted])):
            return False
        self.course = course = self._course()
        self.display.self_training(course.done, course.updates)
        if self.records is not None:
            self.records.teach(course)
        at, began = self.position, time.perf_counter()

        def keep(course: Course, totals: Totals) -> None:
            nonlocal began
            self.course, now = course, time.perf_counter()
            means = totals.over(self.world).means()
            self.display.round(means)
            if self.records is not None:
                self.records.teaching(_round(at, course, means, now - began), course)
            self.world.wait()
            began = now

        def advance(totals: Totals) -> bool:
            self.display.taught(totals.means())
            return any(self.world.sum([stop()]))

        try:
            if self_train(self.updater, self.images, self._load, at, course, keep, advance):
                return True
        except NotFinite as error:
            raise NotFinite(
                f"{error} in self-training; the last good checkpoint is {self.folder / LAST}; go "
                "on without it: train again with --set training.self_training=0"
            ) from error
        score = self._validate(self.world)
        if self.records is not None:
            self.records.taught(self.updater.evaluated, score)
        self.course = None
        self.display.self_trained(None if score is None else score.error)
        return False

    def _course(self) -> Course:
        """Where a stored self-training goes on, else a new one; the leader's files decide."""
        updates = math.ceil(self.recipe.training.self_training * self.position.steps)
        found = None
        if self.records is not None:
            found = stored_course(self.folder, updates, weights_of_last_epoch(self.folder))
        if any(self.world.sum([found is not None])):
            load_course(self.folder, self.updater)
        else:
            found = begin(self.updater, self.images, updates)
        return Course(**json.loads(self.world.agree(json.dumps(found and asdict(found)))))

    @property
    def self_trained(self) -> bool:
        """Whether the run's model is another than its last epoch left, in the leading process."""
        return self._teaches and self.records is not None and not self.records.untaught

    @property
    def _teaches(self) -> bool:
        return self._asked and self.position.step == 0

    @property
    def _asked(self) -> bool:
        return self.recipe.training.self_training > 0 and self.recipe.model.pixel_head > 0

    def unreadable(self, error: ImageError) -> DataError:
        """What names every image that cannot be read, now that one was met."""
        reasons = self.images.unreadable() + self.valid.unreadable() or [str(error)]
        return cannot_be_read(reasons, len(self.images) + len(self.valid))

    @property
    def kept(self) -> int:
        """The epoch, from 1, whose weights are the run's model."""
        at = self.position
        return max(at.epoch if self.recipe.training.keep == "last" else at.best_epoch + 1, 1)

    def _load(self, images: Images) -> TrainLoader:
        data, optim, seed = self.recipe.data, self.recipe.optim, self.recipe.training.seed
        return TrainLoader(images, data, optim.batch_size, optim.accumulate, seed, self.world)

    def _done(self) -> bool:
        at, training = self.position, self.recipe.training
        tired = training.patience and at.epoch - 1 - at.best_epoch >= training.patience
        return at.epoch >= self.recipe.optim.epochs or self._spent() or bool(tired)

    def _spent(self) -> bool:
        limit = self.recipe.training.max_steps
        return bool(limit) and self.position.steps >= limit

    def _epoch(self, stop: Callable[[], bool]) -> bool:
        """The rest of the current epoch; True if asked to stop."""
        at, optim = self.position, self.recipe.optim
        self.updater.network.train()
        self.display.begin()
        weights = loss_weights(optim, self.recipe.loss, at.epoch)
        for images, batches in self.loader.epoch(at.epoch, at.step):
            rate = learning_rate(optim, at.epoch + at.step / len(self.loader))
            try:
                self.updater.update(at.steps, images, batches, rate, weights, at.totals)
            except NotFinite as error:
                raise self._not_finite(error) from error
            at.step += 1
            at.steps += 1
            self.display.update(at.epoch, at.step, images, at.totals.means())
            if self._spent():
                return False
            if any(self.world.sum([stop()])):
                return True
        return False

    def _end_epoch(self, started: float) -> None:
        at = self.position
        at.totals = at.totals.over(self.world)
        score = self._validate(self.world)
        ended = at.step == len(self.loader)
        better = score is None or at.best is None or (ended and score < at.best)
        if better and ended:
            at.best, at.best_epoch = score, at.epoch
        kept = better or (ended and self.recipe.training.keep == "last")
        at.seconds = time.perf_counter() - started
        row = self._row(score)
        self.display.epoch(row, better)
        if ended:
            at.epoch, at.step, at.totals, at.seconds = at.epoch + 1, 0, Totals(), 0.0
        if self.records is not None:
            self.records.epoch(row, score, kept, at)
        self.world.wait()

    def _validate(self, world: World) -> Score | None:
        optim, data = self.recipe.optim, self.recipe.data
        batches = whole_images(self.valid, optim.batch_size, data.readers, world)
        score = validate(self.updater.evaluated, batches, self.updater.pixels, world)
        if score is not None and not score.loss < float("inf"):
            raise self._not_finite(NotFinite(f"the validation loss is {score.loss}"))
        return score

    def _row(self, score: Score | None) -> dict[str, Any]:
        at = self.position
        progress = at.epoch + (at.step - 1) / len(self.loader)
        return {
            "epoch": at.epoch + 1,
            "step": at.steps,
            "lr": learning_rate(self.recipe.optim, progress),
            **{f"train_{name}": value for name, value in at.totals.means().items()},
            "valid_error": None if score is None else score.error,
            "valid_loss": None if score is None else score.loss,
            "images_per_second": self.display.speed,
            "seconds": at.seconds,
        }

    def _not_finite(self, error: NotFinite) -> NotFinite:
        at = self.position
        last = self.folder / LAST
        good = f"the last good checkpoint is {last}" if last.is_file() else "no checkpoint yet"
        return NotFinite(
            f"{error} in epoch {at.epoch + 1}, step {at.step + 1} of {len(self.loader)}; {good}; "
            "train again with a lower optim.lr, or with optim.clip=1"
        )


def _round(at: Position, course: Course, means: dict[str, float], seconds: float) -> dict[str, Any]:
    """The row of self-training.csv."""
    return {
        "updates": course.done,
        "step": at.steps + course.done,
        **{f"train_{name}": value for name, value in means.items()},
        "seconds": seconds,
    }


def _network(recipe: Recipe, classes: int, world: World) -> nn.Module:
    torch.manual_seed(recipe.training.seed)
    network: Any = build(recipe.model, classes)
    network.to(world.device)
    if recipe.training.channels_last:
        network.to(memory_format=torch.channels_last)
    if recipe.training.batch_norm == "frozen":
        network.freeze_batch_norm()
    elif world.size > 1 and world.device.type == "cuda":
        network = synchronised(network)
    world.broadcast(network)
    return network


def synchronised(network: nn.Module) -> nn.Module:
    """The network with batch statistics over all processes; timm's fused layers included."""
    from timm.layers import convert_sync_batchnorm

    return convert_sync_batchnorm(network)


def make_deterministic() -> None:
    """Ask torch for the same result twice; what it has no such kernel for stays as it is."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
