"""`cutout`: cutouts/NAME.png, RGBA, the background transparent and empty."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.batch.page import Page
from wsol_deploy.runtime import render


class CutoutWriter:
    outputs = ("mask",)
    needs_image = True

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        assert page.prediction.image is not None
        pixels = render.cutout(page.prediction.image, page.prediction.mask)
        yield f"cutouts/{page.name}.png", render.png(pixels)
