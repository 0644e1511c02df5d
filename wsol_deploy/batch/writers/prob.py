"""`prob`: probabilities/NAME.png, 16-bit gray, the soft mask times 65535."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.batch.page import Page
from wsol_deploy.runtime import render


class ProbWriter:
    outputs = ("mask",)
    needs_image = False

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        pixels = render.probability_pixels(page.prediction.probability)
        yield f"probabilities/{page.name}.png", render.png(pixels)
