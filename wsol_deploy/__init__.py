"""wsol-deploy: pixel masks from image-level labels, in one exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wsol_deploy.runtime import Prediction, Predictor, load

__all__ = ["Prediction", "Predictor", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("load", "Predictor", "Prediction"):
        from wsol_deploy import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module 'wsol_deploy' has no attribute {name!r}")
