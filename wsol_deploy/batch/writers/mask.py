"""`mask`: masks/NAME.png (.tif of a large image), 8-bit gray, 0 and 255, at the image's size."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.batch.folder import Content
from wsol_deploy.batch.page import Page
from wsol_deploy.runtime import render
from wsol_deploy.runtime.large_prediction import LargePrediction


class MaskWriter:
    outputs = ("mask",)
    needs_image = False

    def files(self, page: Page) -> Iterator[tuple[str, Content]]:
        if isinstance(page.prediction, LargePrediction):
            yield f"masks/{page.name}.tif", page.prediction.write_mask
            return
        pixels = render.mask_pixels(page.prediction.mask)
        yield f"masks/{page.name}.png", render.png(pixels)
