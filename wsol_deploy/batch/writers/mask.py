"""`mask`: masks/NAME.png, 8-bit gray, 0 and 255, at the image's size."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.batch.page import Page
from wsol_deploy.runtime import render


class MaskWriter:
    outputs = ("mask",)
    needs_image = False

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        pixels = render.mask_pixels(page.prediction.mask)
        yield f"masks/{page.name}.png", render.png(pixels)
