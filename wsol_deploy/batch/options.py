"""What one run of the batch command is asked to do; recorded in its journal and manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from wsol_deploy.runtime.postprocess import PostProcess

DEFAULT_SAVE = ("mask", "jsonl")


@dataclass(frozen=True)
class Options:
    """Everything that decides the bytes written.

    Attributes:
        save: names of writers.
        instances: one row a component as well.
        threshold: of the soft mask, in [0, 1]; None for the card's.
        post: steps between soft mask and mask.
        batch_size: images of equal graph size run at once; None for what suits the device.
    """

    save: tuple[str, ...] = DEFAULT_SAVE
    instances: bool = False
    threshold: float | None = None
    post: PostProcess = field(default_factory=PostProcess)
    batch_size: int | None = None

    def record(self) -> dict[str, Any]:
        """The options as JSON values, flat."""
        return {
            "save": sorted(self.save),
            "instances": self.instances,
            "threshold": self.threshold,
            **asdict(self.post),
            "batch_size": self.batch_size,
        }
