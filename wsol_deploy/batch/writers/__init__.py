"""One writer an output format; `choose` picks those that a run asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol_deploy.batch.folder import Content
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.page import Page
from wsol_deploy.batch.writers.base import FileWriter, TableWriter
from wsol_deploy.batch.writers.class_mask import ClassMaskWriter
from wsol_deploy.batch.writers.coco import CocoWriter, coco_section
from wsol_deploy.batch.writers.cutout import CutoutWriter
from wsol_deploy.batch.writers.geojson import GeoJsonWriter
from wsol_deploy.batch.writers.heatmap import HeatmapWriter
from wsol_deploy.batch.writers.labelme import LabelmeWriter
from wsol_deploy.batch.writers.mask import MaskWriter
from wsol_deploy.batch.writers.overlay import OverlayWriter
from wsol_deploy.batch.writers.prob import ProbWriter
from wsol_deploy.batch.writers.rows import instances_section, row_section
from wsol_deploy.batch.writers.tables import Table
from wsol_deploy.batch.writers.yolo import YoloNames, YoloWriter
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import UsageError

FILE_WRITERS: dict[str, Callable[[Path], FileWriter]] = {
    "mask": lambda root: MaskWriter(),
    "prob": lambda root: ProbWriter(),
    "overlay": lambda root: OverlayWriter(),
    "heatmap": lambda root: HeatmapWriter(),
    "class-mask": lambda root: ClassMaskWriter(),
    "cutout": lambda root: CutoutWriter(),
    "geojson": lambda root: GeoJsonWriter(),
    "labelme": lambda root: LabelmeWriter(str(root)),
    "yolo": lambda root: YoloWriter(),
}
TABLES = ("csv", "jsonl", "parquet")
TABLE_WRITERS: dict[str, Callable[[], TableWriter]] = {
    "coco": CocoWriter,
    "yolo": YoloNames,
    "csv": lambda: Table("csv", "row"),
    "jsonl": lambda: Table("jsonl", "row"),
    "parquet": lambda: Table("parquet", "row"),
}
SECTIONS: dict[str, Callable[[Page], Any]] = {
    "row": row_section,
    "instances": instances_section,
    "coco": coco_section,
}
NAMES = tuple(dict.fromkeys((*FILE_WRITERS, *TABLE_WRITERS)))


@dataclass(frozen=True)
class Writers:
    """The writers of one run."""

    files: tuple[FileWriter, ...]
    tables: tuple[TableWriter, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the graph that they use."""
        used = (name for writer in (*self.files, *self.tables) for name in writer.outputs)
        return tuple(dict.fromkeys(("mask", *used)))

    @property
    def needs_image(self) -> bool:
        """Whether any draws on the image's pixels."""
        return any(writer.needs_image for writer in self.files)

    def write(self, page: Page) -> Iterator[tuple[str, Content]]:
        """Every file of one image: its path below the output folder and its content."""
        for writer in self.files:
            yield from writer.files(page)

    def sections(self, page: Page) -> dict[str, Any]:
        """What the tables will need of one image, for its journal entry."""
        names = {writer.section for writer in self.tables}
        return {name: make(page) for name, make in SECTIONS.items() if name in names}


def impossible(card: ModelCard) -> dict[str, str]:
    """What a model cannot give to write, and why."""
    reasons = {}
    if card.outputs and "class_maps" not in card.outputs:
        reasons["heatmap"] = f"{card.method} has no class maps; leave out --save heatmap"
    if card.task != "multi-label":
        reasons["class-mask"] = (
            "its images show one class each, and the mask is that class's; --save mask in place "
            "of class-mask"
        )
    return reasons


def choose(options: Options, root: Path) -> Writers:
    """The writers that the options name, for an output folder.

    Raises:
        UsageError: no such writer.
        MissingExtra: a writer's package is not installed.
    """
    for name in options.save:
        if name not in NAMES:
            raise UsageError(f"--save {name}: no such output; known: {', '.join(NAMES)}")
    files = [make(root) for name, make in FILE_WRITERS.items() if name in options.save]
    tables = [make() for name, make in TABLE_WRITERS.items() if name in options.save]
    if options.instances:
        kinds = [kind for kind in TABLES if kind in options.save] or ["csv"]
        tables += [Table(kind, "instances") for kind in kinds]
    return Writers(tuple(files), tuple(tables))
