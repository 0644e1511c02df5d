"""Downloads of one picture, written by the code of `wsol predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wsol_deploy.batch.writers import FILE_WRITERS
from wsol_deploy.demo.sessions import Session
from wsol_deploy.errors import UsageError
from wsol_deploy.runtime import render

TITLES = {"mask": "Mask PNG", "overlay": "Overlay PNG", "geojson": "GeoJSON", "json": "JSON"}
SUFFIXES = {"mask": "-mask.png", "overlay": "-overlay.png", "geojson": ".geojson", "json": ".json"}


def write(session: Session, kind: str, threshold: float, opacity: float) -> Path:
    """One file about the picture on the stage.

    Args:
        session: whose picture it is.
        kind: `mask`, `overlay`, `geojson` or `json`.
        threshold: of the soft mask, in [0, 1].
        opacity: of the overlay's veil, in [0, 1].

    Raises:
        UsageError: an unknown kind.
        WsolError: there is no picture.
    """
    if kind not in TITLES:
        raise UsageError(f"no download {kind!r}; known: {', '.join(TITLES)}")
    look = session.current()
    content: Any
    if kind == "json":
        content = (json.dumps(look.report(threshold), indent=2) + "\n").encode()
    elif kind == "overlay":
        content = render.png(look.overlay(threshold, opacity))
    else:
        (_, content), *_ = FILE_WRITERS[kind](Path()).files(look.page(threshold))
    return session.show(content, f"{Path(look.name).stem}{SUFFIXES[kind]}")
