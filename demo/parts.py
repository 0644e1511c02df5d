"""Gradio components that take files in and out of the server's own folder, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr


async def _keep_here(self: Any, place: str | Path | None) -> str | None:
    """Never fetch an address for a caller; leave a session's files to the session."""
    if place is not None and "://" in str(place):
        raise gr.Error("Send the file itself: addresses are not fetched here.")
    return None if place is None else str(place)


def _path(self: Any, payload: Any) -> Path | None:
    return Path(payload.path) if payload is not None and payload.path else None


def _paths(self: Any, payload: Any) -> Any:
    if payload is None or self.file_count == "single":
        return _path(self, payload)
    return [Path(file.path) for file in payload]


def _as_text(self: Any, value: Path | None) -> Any:
    return gr.File.postprocess(self, None if value is None else str(value))


def _derive(base: Any, **methods: Any) -> Any:
    """A subclass made without Gradio's metaclass, which writes a .pyi file beside the module."""
    methods = {"async_move_resource_to_block_cache": _keep_here, **methods}
    return type.__new__(type(base), base.__name__, (base,), methods)


_Image = _derive(gr.Image, preprocess=_path)
_File = _derive(gr.File, preprocess=_paths, postprocess=_as_text)
_Gallery = _derive(gr.Gallery)


def picture(**options: Any) -> gr.Image:
    """An image: handed over as the path of the very file that was sent, shown without loss."""
    return _Image(type="filepath", format="png", **options)


def files(**options: Any) -> gr.File:
    """A file or several: handed over as the paths of the very files that were sent."""
    return _File(**options)


def gallery(**options: Any) -> gr.Gallery:
    """Pictures of the session."""
    return _Gallery(**options)
