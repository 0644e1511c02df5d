"""`class-mask`: class-masks/NAME/N-CLASS.png, 0 and 255, for each class found in the image."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.batch.page import Page
from wsol_deploy.batch.writers.base import LABEL
from wsol_deploy.batch.writers.heatmap import UNSAFE
from wsol_deploy.runtime import render


class ClassMaskWriter:
    outputs = LABEL
    needs_image = False

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        prediction = page.prediction
        for name in prediction.labels:
            path = f"{prediction.classes.index(name)}-{UNSAFE.sub('_', name)}.png"
            mask = render.mask_pixels(prediction.class_mask(name))
            yield f"class-masks/{page.name}/{path}", render.png(mask)
