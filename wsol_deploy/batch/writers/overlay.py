"""`overlay`: overlays/NAME.png, the foreground, a veil over the rest, the mask's outline."""

from __future__ import annotations

from collections.abc import Iterator

from wsol_deploy.batch.page import Page
from wsol_deploy.runtime import render


class OverlayWriter:
    outputs = ("mask",)
    needs_image = True

    def files(self, page: Page) -> Iterator[tuple[str, bytes]]:
        yield f"overlays/{page.name}.png", render.png(page.prediction.overlay())
