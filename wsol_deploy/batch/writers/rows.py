"""The sections of a journal entry that become rows: one an image, one a component."""

from __future__ import annotations

from typing import Any

import numpy as np

from wsol_deploy.batch.page import Page

DIGITS = 6


def row_section(page: Page) -> dict[str, Any]:
    """One image's row; what the model does not give is None. Boxes are x, y, width, height."""
    prediction, trust = page.prediction, page.prediction.trust
    return {
        "image": page.name,
        "width": page.width,
        "height": page.height,
        "label": prediction.label,
        "probabilities": _named(page, prediction.probs),
        "localizer_probabilities": _named(page, prediction.localizer_probs),
        "foreground_fraction": round(prediction.foreground_fraction, DIGITS),
        "components": len(prediction.components),
        "boxes": [list(box) for box in prediction.boxes],
        "foreground_entropy": _rounded(trust.foreground_entropy if trust else None),
        "background_entropy": _rounded(trust.background_entropy if trust else None),
        "mask_contrast": _rounded(trust.mask_contrast if trust else None),
        "review": trust.review if trust else None,
    }


def instances_section(page: Page) -> list[dict[str, Any]]:
    """One row a component; lengths in pixels, and in micrometres where the file says how large
    a pixel is."""
    return [_instance(page, number) for number in range(len(page.prediction.components))]


def _instance(page: Page, number: int) -> dict[str, Any]:
    part = page.prediction.components[number]
    x, y, width, height = part.box
    x_size, y_size = page.pixel_size or (None, None)
    return {
        "image": page.name,
        "instance": number + 1,
        "label": page.label_of(part),
        "area": part.area,
        "centroid_x": round(part.centroid[0], DIGITS),
        "centroid_y": round(part.centroid[1], DIGITS),
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "mean_probability": round(part.mean_probability, DIGITS),
        "area_um2": _scaled(part.area, x_size, y_size),
        "centroid_x_um": _scaled(part.centroid[0], x_size),
        "centroid_y_um": _scaled(part.centroid[1], y_size),
        "width_um": _scaled(width, x_size),
        "height_um": _scaled(height, y_size),
    }


def _named(page: Page, probs: np.ndarray | None) -> dict[str, float] | None:
    if probs is None:
        return None
    return {
        name: round(value, DIGITS)
        for name, value in zip(page.prediction.classes, probs.tolist(), strict=True)
    }


def _scaled(value: float, *sizes: float | None) -> float | None:
    for size in sizes:
        if size is None:
            return None
        value *= size
    return round(value, DIGITS)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
