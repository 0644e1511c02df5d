"""`prob`: probabilities/NAME.png (.tif of a large image), 16-bit gray, the soft mask * 65535."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.batch.folder import Content
from wsol_deploy.batch.page import Page
from wsol_deploy.runtime import render
from wsol_deploy.runtime.large_prediction import LargePrediction


class ProbWriter:
    outputs = ("mask",)
    needs_image = False

    def files(self, page: Page) -> Iterator[tuple[str, Content]]:
        if isinstance(page.prediction, LargePrediction):
            yield f"probabilities/{page.name}.tif", page.prediction.write_probability
            return
        pixels = render.probability_pixels(page.prediction.probability)
        yield f"probabilities/{page.name}.png", render.png(pixels)
