"""`heatmap`: heatmaps/NAME/N-CLASS.png for each class, on one scale from 0 to 1."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wsol_deploy.batch.page import Page
from wsol_deploy.runtime import render

UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


class HeatmapWriter:
    outputs = ("mask", "class_maps", "class_masks")
    needs_image = True

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        prediction = page.prediction
        assert prediction.image is not None
        heats = zip(prediction.classes, prediction.class_heat(), strict=True)
        for index, (name, heat) in enumerate(heats):
            path = f"heatmaps/{page.name}/{index}-{UNSAFE.sub('_', name)}.png"
            yield path, render.png(render.tint(prediction.image, heat))
