"""Gradio components that take files in and out of the server's own folder, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr


class _Local:
    """Never fetch an address for a caller; leave a session's files to the session."""

    async def async_move_resource_to_block_cache(self, place: str | Path | None) -> str | None:
        if place is not None and "://" in str(place):
            raise gr.Error("Send the file itself: addresses are not fetched here.")
        return None if place is None else str(place)


class Picture(_Local, gr.Image):
    """An image, handed over as the path of the very file that was sent."""

    def preprocess(self, payload: Any) -> Path | None:  # type: ignore[override]
        return Path(payload.path) if payload is not None and payload.path else None

    def get_block_name(self) -> str:
        return "image"


def picture(**options: Any) -> Picture:
    """A `Picture` whose pixels are never re-encoded with loss."""
    return Picture(type="filepath", format="png", **options)


class Files(_Local, gr.File):
    """Files, handed over as the paths of the very files that were sent."""

    def preprocess(self, payload: Any) -> Any:  # type: ignore[override]
        if payload is None:
            return None
        if self.file_count == "single":
            return Path(payload.path)
        return [Path(file.path) for file in payload]

    def get_block_name(self) -> str:
        return "file"


class Pictures(_Local, gr.Gallery):
    """A gallery of pictures of the session."""

    def get_block_name(self) -> str:
        return "gallery"
