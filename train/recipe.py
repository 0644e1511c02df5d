"""Recipes: everything that decides a training, typed, as TOML."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from wsol_deploy.card import MIN_SIDE, SizePolicy
from wsol_deploy.machine import cores
from wsol_deploy.model.config import CONSTANTS, ModelConfig


class Part(BaseModel):
    """Base of a recipe's parts: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class LossRecipe(Part):
    """Weights of the loss's terms (Eq. 9).

    Attributes:
        localizer: of H(p, p^s), Eq. 8.
        foreground: of H(p, p^)+, Eq. 3.
        background: of H(q, p^)-, Eq. 6.
        size_barrier: of the log-barrier on both regions' sizes; needs the mask attached.
        barrier_t: its sharpness.
        local: of the local cross-entropy on images mixed from tiles (train/evidence.py). Where it
            is not 0, self-training with balanced masks teaches the pixel head those images too.
        tiles: along each side of a mixed image.
        pixels: of the pixel head's cross-entropy with the class maps at their extremes.
        extremes: the share of an image's places at either end that it learns from.
        bootstrap: the share that its own mask has in what it learns from, after the first third
            of the epochs.
        margin: pixels from the border of a training image within which it learns nothing, at
            most a quarter of the image.
        balance: whether foreground and background of a mask weigh the same in self-training:
            `always`, `never`, or `auto`, where masks hold several objects.
    """

    localizer: float = Field(default=1.0, ge=0)
    foreground: float = Field(default=1.0, ge=0)
    background: float = Field(default=1.0, ge=0)
    size_barrier: float = Field(default=0.0, ge=0)
    barrier_t: float = Field(default=5.0, gt=0)
    local: float = Field(default=0.0, ge=0)
    tiles: int = Field(default=5, ge=2)
    pixels: float = Field(default=1.0, ge=0)
    extremes: float = Field(default=0.2, gt=0, le=0.5)
    bootstrap: float = Field(default=0.0, ge=0, lt=1)
    margin: int = Field(default=0, ge=0)
    balance: Literal["auto", "always", "never"] = "auto"


class ErasingRecipe(Part):
    """Recursive erasing (Sec. 3.4).

    Attributes:
        u: maximum depth; 0 is no erasing, one pass of the localizer.
        sigma: how slowly trust falls with depth (Eq. 13).
        mask_gradient: `detached` as in the paper (footnote 5), or `attached`; to the pixel head
            alone where there is one, for the mask is its.
        tolerance: an erased image is trusted until its loss is this much above the clean one's;
            the paper's Eq. 14 allows none.
        reach: pixels around what is collected within which more is; 0, as in the paper, anywhere.
    """

    u: int = Field(default=4, ge=0)
    sigma: float = Field(default=10.0, gt=0)
    mask_gradient: Literal["detached", "attached"] = "detached"
    tolerance: float = Field(default=0.0, ge=0)
    reach: int = Field(default=0, ge=0)


class SizeRecipe(Part):
    """How images are resized before anything else; stored in the card as its size policy.

    Attributes:
        mode: `native`, `shorter-side` or `longer-side`.
        size: pixels of that side.
    """

    mode: Literal["native", "shorter-side", "longer-side"] = "native"
    size: int | None = Field(default=None, ge=MIN_SIDE)

    @model_validator(mode="after")
    def _complete(self) -> SizeRecipe:
        if (self.mode == "native") != (self.size is None):
            raise ValueError("give size with shorter-side or longer-side, and only with them")
        return self

    @property
    def policy(self) -> SizePolicy:
        """The same for the card."""
        return SizePolicy(mode=self.mode, size=self.size)


class DataRecipe(Part):
    """Which images are for what, and how training images are varied.

    Attributes:
        split, group_column, valid_fraction, test_fraction: see `datasets.open_dataset`.
        size: of all images, in training and in production.
        crop: side of the random square taken of a training image; images smaller than it are
            reflected at their borders.
        reflect_pad: the crop may lie over the border by this share of each side, reflected.
        horizontal_flip, vertical_flip: with probability 1/2.
        rotate: by a random multiple of 90 degrees.
        degrees, shear: turned and sheared by up to so many degrees either way.
        zoom: scaled by a factor drawn from [low, high], the frame staying as it is.
        brightness, contrast, saturation: factors drawn from [1 - value, 1 + value].
        hue: shift drawn from [-value, value], in turns of the colour circle.
        stain: amounts of haematoxylin, eosin and DAB, times factors drawn from
            [1 - value, 1 + value] each.
        crops: so many variants of an image an epoch, one after the other.
        workers: threads that read and augment ahead; 0 does it between the steps, None takes the
            cores that the steps leave over, at most 8.
    """

    split: Literal["auto", "official", "paper", "stratified", "hash"] = "auto"
    group_column: str | None = None
    valid_fraction: float = Field(default=0.2, ge=0, lt=1)
    test_fraction: float | None = Field(default=None, ge=0, lt=1)
    size: SizeRecipe = SizeRecipe()
    crop: int = Field(default=224, ge=MIN_SIDE)
    reflect_pad: float = Field(default=0.0, ge=0, le=1)
    horizontal_flip: bool = True
    vertical_flip: bool = False
    rotate: bool = False
    degrees: float = Field(default=0.0, ge=0, le=180)
    shear: float = Field(default=0.0, ge=0, lt=90)
    zoom: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    brightness: float = Field(default=0.0, ge=0)
    contrast: float = Field(default=0.0, ge=0)
    saturation: float = Field(default=0.0, ge=0)
    hue: float = Field(default=0.0, ge=0, le=0.5)
    stain: float = Field(default=0.0, ge=0, lt=1)
    crops: int = Field(default=1, ge=1)
    workers: int | None = Field(default=None, ge=0)

    @property
    def readers(self) -> int:
        """Threads that read ahead: what two cores spend on them they lose in the steps."""
        return min(8, max(0, cores() - 2)) if self.workers is None else self.workers


class OptimRecipe(Part):
    """How the weights are updated. Defaults are the paper's (B.2).

    Attributes:
        optimizer: `sgd` or `adamw`.
        lr: learning rate of the backbone.
        head_lr_factor: the heads learn this many times as fast.
        pixel_lr_factor: the pixel head, alone on detached features, this many times as fast.
        momentum, nesterov: of sgd.
        weight_decay: over all weights.
        clip: largest norm of the gradient; 0 is no clipping.
        batch_size: images forwarded at once, on each device.
        accumulate: batches whose gradients make one update.
        epochs: passes over the training images.
        schedule: `step` (times gamma each step_epochs), `cosine` (down to min_lr), or `onecycle`
            (up from lr/25 in the first 30 %, then cosine down to min_lr).
        step_epochs, gamma: of the schedule `step`.
        min_lr: the learning rate never falls below it.
        warmup_epochs: the rate rises linearly from a tenth over these epochs.
        background_start_epoch: before it the loss on X- (Eq. 6) counts nothing.
        background_ramp_epochs: from there its weight rises linearly over these epochs.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(default=0.001, gt=0)
    head_lr_factor: float = Field(default=1.0, gt=0)
    pixel_lr_factor: float = Field(default=30.0, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=1e-5, ge=0)
    clip: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)
    epochs: int = Field(default=400, ge=1)
    schedule: Literal["step", "cosine", "onecycle"] = "step"
    step_epochs: int = Field(default=40, ge=1)
    gamma: float = Field(default=0.1, gt=0, le=1)
    min_lr: float = Field(default=1e-7, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    background_start_epoch: int = Field(default=0, ge=0)
    background_ramp_epochs: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> OptimRecipe:
        if self.nesterov and self.optimizer == "sgd" and self.momentum == 0:
            raise ValueError("nesterov needs momentum; set nesterov to false")
        return self


class TrainingRecipe(Part):
    """How the training runs.

    Attributes:
        batch_norm: `train`, or `frozen` at the statistics the backbone came with.
        ema: decay of the running mean of the weights that is validated and saved; 0 is none.
        precision: `float32`, `bf16`, or `fp16` with a loss scaler.
        channels_last: memory layout of the convolutions.
        seed: of the split, the heads, the order, the augmentation and the dropout.
        keep: the epoch whose weights are the run's model: that of the `best` validation (lowest
            error, ties broken by the loss), or the `last`.
        self_training: after the last epoch the network goes on for this share of the updates it
            had, its pixel head taught by its own masks (train/self_training.py); needs `keep` =
            `last`. Without a pixel head nothing happens.
        max_steps: stop after so many updates; 0 is no limit.
        patience: stop after so many epochs without a better validation; 0 never does.
    """

    batch_norm: Literal["train", "frozen"] = "train"
    ema: float = Field(default=0.0, ge=0, lt=1)
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    channels_last: bool = False
    seed: int = Field(default=0, ge=0)
    keep: Literal["best", "last"] = "best"
    self_training: float = Field(default=0.0, ge=0)
    max_steps: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)


ONE_MASK = ("unet", *CONSTANTS)


class Recipe(Part):
    """Everything that decides a training, but the images."""

    data: DataRecipe = DataRecipe()
    model: ModelConfig = ModelConfig()
    loss: LossRecipe = LossRecipe()
    erasing: ErasingRecipe = ErasingRecipe()
    optim: OptimRecipe = OptimRecipe()
    training: TrainingRecipe = TrainingRecipe()

    @model_validator(mode="after")
    def _everything_learns(self) -> Recipe:
        attached = self.erasing.mask_gradient == "attached"
        if self.model.task == "multi-label" and self.model.method in ONE_MASK:
            raise ValueError(
                f"{self.model.method} has no mask of each class, which images with several labels "
                "need; train minmax, a CAM, wildcat or deep-mil"
            )
        if self.model.task == "multi-label" and self.model.contrast:
            raise ValueError("model.contrast holds classes against each other; set it to false")
        if self.model.pixel_head and not self.loss.pixels:
            raise ValueError("nothing teaches model.pixel_head while loss.pixels is 0")
        if self.training.self_training and self.training.keep != "last":
            raise ValueError(
                "training.self_training teaches the last epoch; set training.keep to last"
            )
        if self.loss.size_barrier and not attached:
            raise ValueError("loss.size_barrier needs erasing.mask_gradient = attached")
        return self
