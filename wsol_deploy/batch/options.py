"""What one run of the batch command is asked to do; recorded in its journal and manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from wsol_deploy.errors import UsageError
from wsol_deploy.runtime.large import Scale
from wsol_deploy.runtime.postprocess import PostProcess
from wsol_deploy.runtime.predictor import MAX_GRAPH_PIXELS
from wsol_deploy.runtime.tiles import Tiling

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
        tile_above: images of which the graph would see more pixels are predicted in tiles.
        tiling: how large images are cut.
        scale: the size at which slides and TIFF files are predicted.
        skip_background: leave out the tiles of large images that are bare glass.

    Raises:
        UsageError: `tile_above` is more than one pass can hold.
    """

    save: tuple[str, ...] = DEFAULT_SAVE
    instances: bool = False
    threshold: float | None = None
    post: PostProcess = field(default_factory=PostProcess)
    batch_size: int | None = None
    tile_above: int = MAX_GRAPH_PIXELS
    tiling: Tiling = field(default_factory=Tiling)
    scale: Scale = field(default_factory=Scale)
    skip_background: bool = False

    def __post_init__(self) -> None:
        if self.tile_above > MAX_GRAPH_PIXELS:
            raise UsageError(f"--tile-above {self.tile_above}: at most {MAX_GRAPH_PIXELS:,} pixels")

    def record(self) -> dict[str, Any]:
        """The options as JSON values, flat."""
        return {
            "save": sorted(self.save),
            "instances": self.instances,
            "threshold": self.threshold,
            **asdict(self.post),
            "batch_size": self.batch_size,
            "tile_above": self.tile_above,
            **asdict(self.tiling),
            **asdict(self.scale),
            "skip_background": self.skip_background,
        }
