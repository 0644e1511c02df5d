"""The methods of Table 1 as trainings: their own settings, and what means nothing to them."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from wsol_deploy.errors import UsageError
from wsol_deploy.model.config import CONSTANTS, Method
from wsol_deploy.train.recipe import Recipe

Document = dict[str, Any]

METHODS: tuple[str, ...] = get_args(Method)
DEFAULT = "minmax"
SUPERVISED = ("unet",)

PLAIN: Document = {"erasing": {"u": 0}, "loss": {"local": 0.0, "size_barrier": 0.0}}
NO_HEAD: Document = {"pixel_head": 0, "smooth": 1, "probe": 0.0}
CAM: Document = PLAIN | {"model": {"contrast": False, "rescale": "image"} | NO_HEAD}
# Durand et al.'s own values on VOC 2007
DURAND = {"modalities": 8, "kmax": 0.2, "kmin": 0.2, "alpha": 0.7, "dropout": 0.0}
CONSTANT: Document = PLAIN | {
    "model": {"backbone": "none", "weights": "none"} | NO_HEAD,
    "data": {"crop": 32, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "optim": {
        "optimizer": "sgd", "lr": 1.0, "head_lr_factor": 1.0, "momentum": 0.0, "nesterov": False,
        "weight_decay": 0.0, "epochs": 3, "schedule": "cosine", "warmup_epochs": 0.0,
    },
}  # fmt: skip
SETTINGS: dict[str, Document] = {
    "cam-avg": CAM,
    "cam-max": CAM,
    "cam-lse": CAM,
    "wildcat": CAM | {"model": CAM["model"] | DURAND},
    "deep-mil": CAM,
    "unet": PLAIN | {"model": NO_HEAD},
    **dict.fromkeys(CONSTANTS, CONSTANT),
}

ALGORITHM_1 = (
    "erasing", "loss", "model.omega", "model.sigma_prime", "model.classifier_scale",
    "model.pixel_head", "model.smooth", "model.probe", "optim.pixel_lr_factor",
    "optim.background_start_epoch", "optim.background_ramp_epochs",
)  # fmt: skip
WILDCAT = ("model.modalities", "model.kmax", "model.kmin", "model.alpha", "model.dropout")
MAPS = (
    "model.depths", "model.hidden", "model.contrast", "model.alignment", "model.reflect",
    "model.rescale",
)  # fmt: skip
LSE, ATTENTION = "model.lse_r", "model.attention"
MEANINGLESS: dict[str, tuple[str, ...]] = {
    "minmax": (LSE, ATTENTION),
    "cam-avg": (*ALGORITHM_1, *WILDCAT, LSE, ATTENTION),
    "cam-max": (*ALGORITHM_1, *WILDCAT, LSE, ATTENTION),
    "cam-lse": (*ALGORITHM_1, *WILDCAT, ATTENTION),
    "wildcat": (*ALGORITHM_1, LSE, ATTENTION),
    "deep-mil": (*ALGORITHM_1, *WILDCAT, LSE, "model.contrast"),
    "unet": (*ALGORITHM_1, *WILDCAT, *MAPS, LSE, ATTENTION),
    **dict.fromkeys(CONSTANTS, (*ALGORITHM_1, "model")),
}


def for_method(document: Document, others: Document, method: str) -> Document:
    """A recipe's document for a method.

    A recipe of another method is changed by what it says of the other methods, then by the
    method's own settings. A recipe of this very method is left as it is; what it does not say is
    the method's own.

    Args:
        document: section to key to value.
        others: the recipe's `[others]`.
        method: the one to train.

    Raises:
        UsageError: no such method.
    """
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no method {method}; {hint}known: {', '.join(METHODS)}")
    own = SETTINGS.get(method, {})
    if method_of(document) == method:
        return merge(own, document)
    return merge(document, others, own, {"model": {"method": method}})


def method_of(document: Document) -> str:
    """The method a recipe's document names, or the default one."""
    model = document.get("model", {})
    return str(model.get("method", DEFAULT)) if isinstance(model, dict) else DEFAULT


def check_meaning(key: str, method: str) -> None:
    """Refuse a key set by hand that the method would not read.

    Raises:
        UsageError: the key means nothing to the method.
    """
    for part in MEANINGLESS.get(method, ()):
        if key == part or (key.startswith(f"{part}.") and key != "model.method"):
            raise UsageError(f"{key}: means nothing to the method {method}; leave it out")


def check_left_out(recipe: Recipe, where: str) -> None:
    """Refuse a recipe that gives a method without them erasing or a pixel head.

    Raises:
        UsageError: it does.
    """
    method, asked = recipe.model.method, (recipe.erasing.u, recipe.model.pixel_head)
    for key, value in zip(("erasing.u", "model.pixel_head"), asked, strict=True):
        if value and method != DEFAULT:
            raise UsageError(f"{where}: {key}: means nothing to the method {method}; leave it out")


def merge(*documents: Document) -> Document:
    """Nested tables as one; the later wins."""
    merged: Document = {}
    for document in documents:
        for key, value in document.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merge(merged[key], value) if both else _copy(value)
    return merged


def _copy(value: Any) -> Any:
    return merge(value) if isinstance(value, dict) else value
