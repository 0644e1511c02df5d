"""The contact sheet: one PNG, a row an image, columns image, truth, soft mask, overlay."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsol_deploy.errors import DataError
from wsol_deploy.evaluation import pictures
from wsol_deploy.evaluation.boxes import Box
from wsol_deploy.files import write_whole

CELL, GAP, HEADER, CAPTION, FOOTER = 260, 12, 34, 26, 34
PAPER, INK, FAINT = (255, 255, 255), (32, 33, 36), (110, 114, 120)
EMPTY = (238, 239, 241)
COLUMNS = ("image", "truth", "soft mask", "overlay")


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One image's row.

    Attributes:
        image: uint8, H x W x 3, RGB.
        probability: float, H x W in [0, 1], the soft mask.
        threshold: of the soft mask.
        caption: one line under the row.
        truth: bool, H x W, or None.
        boxes: truth boxes in pixels, or empty.
    """

    image: np.ndarray
    probability: np.ndarray
    threshold: float
    caption: str = ""
    truth: np.ndarray | None = None
    boxes: tuple[Box, ...] = ()

    def cells(self) -> list[np.ndarray | None]:
        """Image, truth (None if there is none), soft mask, overlay; uint8, H x W x 3."""
        mask = self.probability > self.threshold
        truth: np.ndarray | None = None
        overlay = pictures.overlay(self.image, mask, self.truth)
        if self.truth is not None:
            truth = pictures.silhouette(self.truth)
        elif self.boxes:
            truth = pictures.with_boxes(self.image, self.boxes, pictures.BOX_OF_TRUTH)
            found = pictures.predicted_box(self.probability, self.threshold)
            overlay = pictures.with_boxes(overlay, self.boxes, pictures.BOX_OF_TRUTH)
            overlay = pictures.with_boxes(overlay, (found,), pictures.FALSE)
        return [self.image, truth, pictures.heat(self.probability), overlay]


def contact_sheet(rows: Sequence[SheetRow], path: Path | str) -> None:
    """Write the rows as one PNG; the truth column is left out if no row has any truth.

    Raises:
        DataError: no rows.
    """
    if not rows:
        raise DataError(f"{path}: a contact sheet needs at least one image")
    cells = [row.cells() for row in rows]
    shown = [place for place in range(4) if any(line[place] is not None for line in cells)]
    small = [[_small(line[place]) for place in shown] for line in cells]
    heights = [max(cell.shape[0] for cell in line if cell is not None) for line in small]
    width = GAP + len(shown) * (CELL + GAP)
    height = HEADER + sum(heights) + len(rows) * (CAPTION + GAP) + FOOTER
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, place in enumerate(shown):
        draw.text((_left(column), 9), COLUMNS[place], INK, _font(15))
    top = HEADER
    for row, line, tall in zip(rows, small, heights, strict=True):
        for column, cell in enumerate(line):
            _paste(sheet, cell, _left(column), top, tall)
        draw.text((GAP, top + tall + 5), _fitting(draw, row.caption, width), FAINT, _font(13))
        top += tall + CAPTION + GAP
    has_truth = any(row.truth is not None for row in rows)
    _legend(draw, top + 2, has_truth, any(row.boxes for row in rows) and not has_truth)
    stream = io.BytesIO()
    sheet.save(stream, "png", optimize=True)
    write_whole(Path(path), stream.getvalue())


def _left(column: int) -> int:
    return GAP + column * (CELL + GAP)


def _small(cell: np.ndarray | None) -> np.ndarray | None:
    return None if cell is None else pictures.shrink(cell, CELL, CELL)


def _paste(sheet: Image.Image, cell: np.ndarray | None, left: int, top: int, tall: int) -> None:
    if cell is None:
        sheet.paste(EMPTY, (left, top, left + CELL, top + tall))
    else:
        sheet.paste(Image.fromarray(cell), (left + (CELL - cell.shape[1]) // 2, top))


def _fitting(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    if draw.textlength(text, _font(13)) <= width - 2 * GAP:
        return text
    while text and draw.textlength(f"{text}…", _font(13)) > width - 2 * GAP:
        text = text[:-1]
    return f"{text}…"


def _legend(draw: ImageDraw.ImageDraw, top: int, masks: bool, boxes: bool) -> None:
    entries = [(pictures.HIT, "found")]
    if masks:
        entries += [(pictures.FALSE, "found, not there"), (pictures.MISSED, "missed")]
    if boxes:
        entries += [(pictures.FALSE, "box found"), (pictures.BOX_OF_TRUTH, "true box")]
    left = float(GAP)
    for colour, text in entries:
        draw.rectangle((left, top + 4, left + 12, top + 16), colour, FAINT)
        draw.text((left + 18, top + 3), text, FAINT, _font(13))
        left += 18 + draw.textlength(text, _font(13)) + 18
    text = "soft mask 0"
    draw.text((left + 6, top + 3), text, FAINT, _font(13))
    left += 6 + draw.textlength(text, _font(13)) + 6
    scale = pictures.heat(np.linspace(0, 1, 80, dtype=np.float32)[None])[0]
    for place, colour in enumerate(scale.tolist()):
        draw.line((left + place, top + 4, left + place, top + 16), tuple(colour))
    draw.text((left + 86, top + 3), "1", FAINT, _font(13))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
