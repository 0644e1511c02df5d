"""What an exported artifact's card says of its outputs and of what made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from wsol_deploy.card import MaskRule, ModelCard
from wsol_deploy.model.outputs import described

PACKAGES = ("wsol-deploy", "torch", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime")


def describe(card: ModelCard, outputs: Sequence[str], **more: object) -> ModelCard:
    """The card with its outputs described, this moment and these package versions.

    Args:
        card: of the checkpoint.
        outputs: names the graph gives, in the contract's order.
        more: other fields of the card to set.
    """
    update = {
        "outputs": described(outputs, card.method),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {**card.packages, **_versions()},
        **more,
    }
    return card.model_copy(update=update, deep=True)


def mask_rule(network: Any) -> MaskRule | None:
    """How a network's mask follows from its class maps; None if it cannot be had from them."""
    config = network.config
    pooling = POOLED.get(config.method)
    if pooling is None or config.task == "multi-label":
        return None
    running = config.rescale == "running"
    minmax = config.method == "minmax"
    return MaskRule(
        stride=network.stride,
        alignment=config.alignment,
        **pooling(config),
        weights="posterior" if minmax else "predicted",
        omega=config.omega if minmax else None,
        sigma_prime=config.sigma_prime,
        low=float(network.low) if running else None,
        high=float(network.high) if running else None,
        pixel_stride=network.pixel_head.stride if minmax and network.pixel_head else None,
        usual=float(network.probe.usual) if minmax and network.probe else None,
    )


def _wildcat(config: Any) -> dict[str, Any]:
    return {"kmax": config.kmax, "kmin": config.kmin, "alpha": config.alpha}


POOLED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "minmax": _wildcat,
    "wildcat": _wildcat,
    "cam-avg": lambda config: {"kmax": 1.0},
    "cam-max": lambda config: {"kmax": 0.0},
    "cam-lse": lambda config: {"lse_r": config.lse_r},
}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
