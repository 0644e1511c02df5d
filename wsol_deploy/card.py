"""The model card: one JSON document, under the key `wsol`, inside every artifact.

The same card travels in ONNX `metadata_props`, TorchScript and `.pt2` extra files, and the
safetensors header. This module imports neither torch nor onnx.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsol_deploy.errors import ArtifactError

SCHEMA_VERSION = "1.0"
MASK_RULE_VERSION = 2
CARD_KEY = "wsol"
OUTPUTS = ("mask", "probs", "localizer_probs", "background_probs", "class_maps")
SEPARATOR = ";"  # between the classes of an image that shows several
CONTRACT = (*OUTPUTS, "class_masks")  # the last of multi-label models only
MIN_SIDE = 32


class Part(BaseModel):
    """Base of the card's parts: unknown fields of a newer minor version are kept, not refused."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class SizePolicy(Part):
    """How an image is resized before the graph; masks are brought back to the original size.

    `native` leaves it alone; `shorter-side` and `longer-side` scale it so that side has `size`
    pixels, keeping the ratio; `exact` gives every image the one size of a fixed-shape graph.
    """

    mode: Literal["native", "shorter-side", "longer-side", "exact"] = "native"
    size: int | None = Field(default=None, ge=MIN_SIDE)
    height: int | None = Field(default=None, ge=MIN_SIDE)
    width: int | None = Field(default=None, ge=MIN_SIDE)

    def __str__(self) -> str:
        exact = f"{self.height} x {self.width}" if self.height else ""
        return " ".join(str(part) for part in (self.mode, self.size, exact) if part)

    def target(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) the graph sees for an image of this size; never under 32 a side."""
        if self.height and self.width:
            return self.height, self.width
        if self.mode == "native" or self.size is None:
            scale = 1.0
        elif self.mode == "shorter-side":
            scale = self.size / min(height, width)
        else:
            scale = self.size / max(height, width)
        return max(MIN_SIDE, round(height * scale)), max(MIN_SIDE, round(width * scale))


class ImageInput(Part):
    """The graph's input `image`: uint8, N x H x W x 3, RGB; normalisation lives in the graph.

    `batch` is None where N is free, as it is unless the export fixed it.
    """

    name: str = "image"
    layout: str = "NHWC"
    dtype: str = "uint8"
    colour: str = "RGB"
    min_side: int = MIN_SIDE
    batch: int | None = Field(default=None, ge=1)
    size: SizePolicy = SizePolicy()


class Threshold(Part):
    """The soft mask's threshold and how it was chosen; a pixel is foreground if mask > value."""

    value: float = Field(default=0.5, ge=0.0, le=1.0)
    chosen_on: str = "default of the paper, no validation masks"


class Trust(Part):
    """When an image needs a second look. Entropies are normalised to [0, 1] by log c.

    An image is flagged if the entropy on X+ is above `foreground_entropy_max`, the entropy on X-
    is below `background_entropy_min`, or the contrast of its mask (`runtime.trust.contrast`)
    below `mask_contrast_min`.
    """

    foreground_entropy_max: float = Field(default=0.5, ge=0.0, le=1.0)
    background_entropy_min: float = Field(default=0.5, ge=0.0, le=1.0)
    mask_contrast_min: float = Field(default=0.0, ge=0.0, le=1.0)
    calibrated_on: str = "default, not calibrated"


class MaskRule(Part):
    """How the mask follows from the class maps (Eq. 8, 10 and 11), for images seen in tiles.

    Attributes:
        version: of this rule; files of version 1 see no image in tiles.
        stride: pixels of the graph's image from one cell of the class maps to the next.
        alignment: how maps are laid over the image: corners on corners; cell i on pixel
            i * stride + (stride - 1) / 2 (`middle`); or on i * stride (`stride`, of version 1).
        kmax, kmin, alpha: of the pooling that makes a posterior of the class maps; kmax = 1 is
            their mean, kmax = 0 their maximum.
        lse_r: of log-sum-exp pooling, or None.
        weights: T is the maps' mean under the `posterior`, or the map of the `predicted` class.
        omega, sigma_prime: slope and centre of Eq. 11; without omega T is only cut to [0, 1].
        low, high: what T is rescaled by; None for its own range over the image.
        pixel_stride: where a head of its own draws the mask, the stride of its logits; the class
            maps then only make the posterior.
        usual: the share of an image that its masks usually cover, towards which the graph moves
            each of them half-way; None where it does not.
    """

    version: int = MASK_RULE_VERSION
    stride: int = Field(ge=1)
    alignment: Literal["corners", "middle", "stride"]
    kmax: float = 1.0
    kmin: float = 0.0
    alpha: float = 0.0
    lse_r: float | None = None
    weights: Literal["posterior", "predicted"] = "posterior"
    omega: float | None = None
    sigma_prime: float = 0.5
    low: float | None = None
    high: float | None = None
    pixel_stride: int | None = None
    usual: float | None = None


class Measured(Part):
    """Metrics with the data they were measured on; all values are fractions in [0, 1]."""

    dataset: str
    split: str
    images: int
    values: dict[str, float]
    baselines: dict[str, dict[str, float]] = {}


class DataFingerprint(Part):
    """What the model was trained on: name, images a split, sha256 over names, labels and sizes."""

    name: str = ""
    images: dict[str, int] = {}
    sha256: str = ""


class ModelCard(Part):
    """Everything a consumer needs to know of an artifact without running it."""

    schema_version: str = SCHEMA_VERSION
    name: str
    method: str
    task: Literal["single-label", "multi-label"] = "single-label"
    classes: list[str]
    description: str = ""
    author: str = ""
    licence: str = ""
    data_licence: str = ""
    weights_licence: str = ""
    input: ImageInput = ImageInput()
    outputs: dict[str, str] = {}
    threshold: Threshold = Threshold()
    trust: Trust = Trust()
    mask_rule: MaskRule | None = None
    metrics: list[Measured] = []
    recipe: dict[str, Any] = {}
    model: dict[str, Any] = {}
    data: DataFingerprint = DataFingerprint()
    seed: int = 0
    packages: dict[str, str] = {}
    weights_sha256: str = ""
    created: str = ""
    precision: str = "float32"
    proof: dict[str, Any] | None = None

    def to_json(self) -> str:
        """The card as the JSON text stored in an artifact."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str, where: str = "the card") -> ModelCard:
        """Parse a card.

        Raises:
            ArtifactError: the text is no card, or a newer major version of the schema.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"{where}: the model card is damaged ({error})") from error
        version = str(document.get("schema_version", "")) if isinstance(document, dict) else ""
        if not version.partition(".")[0].isdigit():
            raise ArtifactError(f"{where}: no wsol model card in it; export it with wsol export")
        if int(version.partition(".")[0]) != int(SCHEMA_VERSION.partition(".")[0]):
            raise ArtifactError(
                f"{where}: its card has schema {version}, this version reads {SCHEMA_VERSION}: "
                "pip install --upgrade wsol-deploy, or export the model again"
            )
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(f"{where}: the card's {field}: {first['msg']}") from error
