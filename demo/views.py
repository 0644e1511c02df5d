"""What the stage can show: overlay, soft mask, foreground, background, class heat, boxes.

Colours equal values: one fixed scale from 0 to 1, never stretched to the picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from wsol_deploy import images
from wsol_deploy.runtime import Prediction, render

OVERLAY, SOFT, FOREGROUND = "Overlay", "Soft mask", "Foreground R⁺"
BACKGROUND, HEAT, PLAIN = "Background R⁻", "Class heat map", "Picture"
VIEWS = (OVERLAY, SOFT, FOREGROUND, BACKGROUND, HEAT, PLAIN)
SHOWN_SIDE, LEAST_SIDE, GALLERY_SIDE = 1200, 800, 360
ERASED = (124, 116, 104)  # what the network sees as zero
ONLY_FIRST, ONLY_SECOND, BOTH = (0, 114, 178), (230, 159, 0), (90, 90, 90)
BAR_STOPS = 16


def soft(probability: np.ndarray, mask: np.ndarray, boxes: list | None = None) -> np.ndarray:
    """R+ as colours, and the mask's outline."""
    return render.outlined(_colours(probability, render.COLOURS), mask, boxes)


def heat(shares: np.ndarray, mask: np.ndarray, boxes: list | None = None) -> np.ndarray:
    """How far each place speaks for one class (float32, H x W), and the mask's outline."""
    return render.outlined(_colours(shares, render.HEAT), mask, boxes)


def kept(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The picture where `weight` (float32, H x W) is 1, erased to mid-grey where it is 0."""
    return cv2.blendLinear(image, np.full_like(image, ERASED), weight, 1 - weight)


def disagreement(image: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where two masks differ: blue is only the first, orange only the second, grey is both."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = cv2.addWeighted(grey, 0.45, np.full_like(grey, 255), 0.55, 0)
    for where, colour in (
        (first & second, BOTH),
        (first & ~second, ONLY_FIRST),
        (second & ~first, ONLY_SECOND),
    ):
        share = 0.35 if colour is BOTH else 0.8
        mixed = picture[where] * (1 - share) + np.array(colour) * share
        picture[where] = np.rint(mixed).astype(np.uint8)
    return picture


def colour_bar(view: str) -> list[str]:
    """CSS colours of the view's scale from 0 to 1, empty for views without one."""
    maps = {SOFT: render.COLOURS, HEAT: render.HEAT}
    if view not in maps:
        return []
    stops = np.linspace(0, 1, BAR_STOPS, dtype=np.float32)[None]
    return [f"rgb({r} {g} {b})" for r, g, b in _colours(stops, maps[view])[0].tolist()]


def scaled_boxes(prediction: Prediction, size: tuple[int, int]) -> list:
    """The prediction's boxes in a picture of another (height, width)."""
    height, width = prediction.probability.shape
    down, across = size[0] / height, size[1] / width
    return [
        (round(x * across), round(y * down), max(1, round(w * across)), max(1, round(h * down)))
        for x, y, w, h in prediction.boxes
    ]


def shown(view: str, picture: np.ndarray) -> tuple[bytes, str]:
    """Encode RGB pixels to look at, fast; and the file's suffix.

    Scales keep their exact colours, everything else is a photograph; downloads are never lossy.
    """
    return (png(picture), ".png") if view in (SOFT, HEAT) else (_jpeg(picture), ".jpg")


def png(picture: np.ndarray) -> bytes:
    """Encode RGB pixels without loss, fast rather than small."""
    return _encode(".png", picture, cv2.IMWRITE_PNG_COMPRESSION, 1)


def fit(pixels: np.ndarray, least: int = LEAST_SIDE, most: int = SHOWN_SIDE) -> np.ndarray:
    """Pixels or values at the size they are shown at: the longer side from `least` to `most`.

    Small pictures are enlarged here, so that lines drawn on them are fine.
    """
    height, width = pixels.shape[:2]
    longer = max(height, width)
    scale = min(max(longer, least), most) / longer
    return images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))


def _colours(values: np.ndarray, scale: int) -> np.ndarray:
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, scale), cv2.COLOR_BGR2RGB)


def _jpeg(picture: np.ndarray) -> bytes:
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    return _encode(".jpg", picture, cv2.IMWRITE_JPEG_QUALITY, 95, *sampling)


def _encode(suffix: str, picture: np.ndarray, *how: int) -> bytes:
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), how)
    return encoded.tobytes()
