"""Pictures of a result: soft mask on a fixed colour scale, mask against truth, boxes."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
from PIL import Image

from wsol_deploy import images
from wsol_deploy.evaluation.boxes import SIDE, Box, boxes_of_scores

HIT = (0, 158, 115)
FALSE = (230, 97, 0)
MISSED = (64, 120, 220)
TINT = 0.5
BOX_OF_TRUTH = (255, 255, 255)
TRUTH_COLOUR = (240, 240, 240)


def heat(probability: np.ndarray) -> np.ndarray:
    """Colours of a soft mask: uint8, H x W x 3, viridis over the fixed scale 0 to 1.

    Args:
        probability: float, H x W in [0, 1].
    """
    levels = np.round(np.clip(probability, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def silhouette(truth: np.ndarray) -> np.ndarray:
    """A bool mask as a picture: uint8, H x W x 3, light on black."""
    return truth[..., None] * np.array(TRUTH_COLOUR, dtype=np.uint8)


def overlay(image: np.ndarray, mask: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """The mask laid over the image, coloured by what it got right.

    Args:
        image: uint8, H x W x 3, RGB.
        mask: bool, H x W.
        truth: bool, H x W; without it the whole mask has the colour of a hit.

    Returns:
        uint8, H x W x 3: green found, orange found though not there, blue missed.
    """
    regions = [(mask, HIT)]
    if truth is not None:
        regions = [(mask & truth, HIT), (mask & ~truth, FALSE), (truth & ~mask, MISSED)]
    picture = image.astype(np.float32)
    for region, colour in regions:
        picture[region] += (np.array(colour, dtype=np.float32) - picture[region]) * TINT
    picture = picture.round().astype(np.uint8)
    return outline(picture, mask, HIT if truth is None else (255, 255, 255))


def outline(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Draw a mask's border on a copy of the picture."""
    contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
    return cv2.drawContours(picture.copy(), contours, -1, colour, _stroke(picture))


def with_boxes(
    picture: np.ndarray, boxes: tuple[Box, ...], colour: tuple[int, int, int]
) -> np.ndarray:
    """Draw boxes (x0, y0, x1, y1 in pixels) on a copy of the picture."""
    picture = picture.copy()
    stroke = 2 * _stroke(picture) + 1
    for x0, y0, x1, y1 in boxes:
        corners = (round(x0), round(y0)), (round(x1), round(y1))
        cv2.rectangle(picture, *corners, (0, 0, 0), stroke + 2)
        cv2.rectangle(picture, *corners, colour, stroke)
    return picture


def predicted_box(probability: np.ndarray, threshold: float) -> Box:
    """The largest region's box as the box metrics take it, in pixels of the soft mask."""
    height, width = probability.shape
    small = images.resize(np.asarray(probability, dtype=np.float32), SIDE, SIDE)
    x0, y0, x1, y1 = boxes_of_scores(small, [threshold])[0].largest
    across, down = width / SIDE, height / SIDE
    return x0 * across, y0 * down, x1 * across, y1 * down


def _stroke(picture: np.ndarray) -> int:
    return max(1, round(min(picture.shape[:2]) / 200))


def shrink(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Fit a picture into width x height pixels, keeping its ratio."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
    return images.resize(picture, *size)


def data_uri(picture: np.ndarray, *, lossless: bool = False) -> str:
    """A picture (uint8, H x W x 3) as a data URI: PNG where flat colours must stay, else JPEG."""
    stream = io.BytesIO()
    kind, options = ("png", {"optimize": True}) if lossless else ("jpeg", {"quality": 85})
    Image.fromarray(picture).save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
