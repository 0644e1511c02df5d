"""What a network is made of; stored in the recipe and in every artifact's card."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Method = Literal[
    "minmax",
    "cam-avg",
    "cam-max",
    "cam-lse",
    "wildcat",
    "deep-mil",
    "unet",
    "all-ones",
    "centre-box",
]
CONSTANTS = ("all-ones", "centre-box")


class ModelConfig(BaseModel):
    """A network's make. Defaults are the paper's (B.2).

    Attributes:
        task: `single-label`, a softmax over the classes, or `multi-label`, a sigmoid for each and a
            mask of each; set by the data.
        method: a row of Table 1: `minmax`, the paper's own; `cam-avg`, `cam-max`, `cam-lse`,
            `wildcat`, `deep-mil`; `unet`, fully supervised; `all-ones`, `centre-box`, constant.
        backbone: of every method; shared by localizer and classifier.
        weights: the backbone's start: `imagenet`, `none`, or a file.
        output_stride: of the map that is pooled: 32, 16 or 8.
        last_stages: `dilate` or `drop` the stages deeper than the output stride.
        modalities: maps a class in the WILDCAT head.
        kmax, kmin: share of the highest and lowest locations pooled.
        alpha: weight of the lowest locations.
        dropout: on the sorted locations of the pooling, in training only.
        lse_r: of the log-sum-exp pooling (cam-lse): the larger, the nearer to the maximum.
        attention: rows of V in the attention (deep-mil).
        omega, sigma_prime: slope and centre of the pseudo-threshold (Eq. 11).
        depths: how many of the deepest strides the heads read together, at the finest of them.
        hidden: channels of a 1 x 1 convolution before the class maps; 0 leaves it out.
        alignment: how maps are laid over the image: `corners` as in the paper's code, or `middle`,
            each cell on the middle of the `stride` x `stride` pixels it stands for.
        reflect: pixels of reflected border the localizer sees; a multiple of 16.
        flips: at inference the mean over 1 view, 2 (mirrored too) or 4 (also upside down), in the
            graph.
        rescale: of T before Eq. 11: min-max of each `image`, or of the `running` mean of the
            training images' ranges, so that an image with little evidence gets a small mask.
        contrast: class maps less their mean over classes, so that what all classes share is 0.
        pixel_head: channels of the head that redraws the mask from the finest features
            (model/pixel_head.py); 0 leaves the mask as Eq. 11 gives it.
        smooth: the mask is of the mean of its logits over so many of its cells a side, an odd
            number; 1 leaves them as they are. The logits its loss sees are never smoothed.
        probe: how much of the mask at inference is drawn by a linear probe fitted to the image
            itself, and smoothed again; its share of the image then goes half-way to the usual one
            (model/probe.py). 0 leaves all of it out.
        classifier_scale: the classifier sees the masked image at this scale.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    task: Literal["single-label", "multi-label"] = "single-label"
    method: Method = "minmax"
    backbone: str = "resnet101"
    weights: str = "imagenet"
    output_stride: Literal[32, 16, 8] = 32
    last_stages: Literal["dilate", "drop"] = "dilate"
    modalities: int = Field(default=5, ge=1)
    kmax: float = Field(default=0.09, gt=0, le=1)
    kmin: float = Field(default=0.09, ge=0, le=1)
    alpha: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.75, ge=0, lt=1)
    lse_r: float = Field(default=10.0, gt=0)
    attention: int = Field(default=128, ge=1)
    omega: float = Field(default=8.0, gt=0)
    sigma_prime: float = Field(default=0.5, ge=0, le=1)
    classifier_scale: float = Field(default=0.5, gt=0, le=1)
    depths: int = Field(default=1, ge=1, le=4)
    hidden: int = Field(default=0, ge=0)
    contrast: bool = False
    alignment: Literal["corners", "middle"] = "corners"
    reflect: int = Field(default=0, ge=0, multiple_of=16)
    flips: Literal[1, 2, 4] = 1
    rescale: Literal["image", "running"] = "image"
    pixel_head: int = Field(default=0, ge=0)
    smooth: int = Field(default=1, ge=1, le=31)
    probe: float = Field(default=0.0, ge=0, le=1)

    @field_validator("smooth")
    @classmethod
    def _odd(cls, smooth: int) -> int:
        if smooth % 2 == 0:
            raise ValueError("give an odd number")
        return smooth
