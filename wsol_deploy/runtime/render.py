"""Pictures of a prediction. Colours equal values: one fixed scale from 0 to 1, never stretched."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from wsol_deploy.errors import ImageError

COLOURS = cv2.COLORMAP_VIRIDIS
HEAT = cv2.COLORMAP_INFERNO
STRENGTH = 0.45
OPACITY, VEIL = 0.5, (0, 0, 0)
BOX = (230, 159, 0)
PNG_LEVEL = 3


def mask_pixels(mask: np.ndarray) -> np.ndarray:
    """uint8, H x W, 0 and 255."""
    return mask.astype(np.uint8) * 255


def probability_pixels(probability: np.ndarray) -> np.ndarray:
    """uint16, H x W: the probability times 65535, rounded."""
    return np.rint(np.clip(probability, 0, 1) * np.float32(65535)).astype(np.uint16)


def overlay(
    image: np.ndarray, mask: np.ndarray, opacity: float = OPACITY, boxes: list | None = None
) -> np.ndarray:
    """The foreground as it is, the rest darkened, and the mask's outline.

    Args:
        image: uint8, H x W x 3, RGB.
        mask: bool, H x W.
        opacity: of the dark veil, in [0, 1].
        boxes: (x, y, width, height) each, or None.
    """
    veiled = cv2.addWeighted(image, 1 - opacity, np.full_like(image, VEIL), opacity, 0)
    return outlined(cv2.copyTo(image, mask.astype(np.uint8), veiled), mask, boxes)


def outlined(picture: np.ndarray, mask: np.ndarray, boxes: list | None = None) -> np.ndarray:
    """Draw a mask's outline and boxes, light on dark so that they show on anything.

    The light line is the mask's own outermost pixels, the dark one runs around them.
    """
    width = max(1, round(min(mask.shape) / 300))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    inside = mask.astype(np.uint8)
    border: Any = {"borderType": cv2.BORDER_REPLICATE}
    light = inside - cv2.erode(inside, disc, **border)
    dark = cv2.dilate(inside, disc, **border) - inside
    picture = cv2.copyTo(np.full_like(picture, 255), light, picture)
    picture = cv2.copyTo(np.zeros_like(picture), dark, picture)
    for x, y, across, down in boxes or ():
        corners = (x, y), (x + across - 1, y + down - 1)
        cv2.rectangle(picture, *corners, (0, 0, 0), width + 2)
        cv2.rectangle(picture, *corners, BOX, width)
    return picture


def tint(image: np.ndarray, values: np.ndarray, colours: int = HEAT) -> np.ndarray:
    """Values in [0, 1] (float32, H x W) as colours over a grey copy of the image; RGB uint8."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    colour = cv2.cvtColor(cv2.applyColorMap(levels, colours), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(grey, 1 - STRENGTH, colour, STRENGTH, 0)


def cutout(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8, H x W x 4, RGBA: the foreground; the background is transparent and empty."""
    return np.dstack([image, np.full(mask.shape, 255, np.uint8)]) * mask[:, :, None]


def class_heat(class_maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32, c x H x W in [0, 1]: how far each place speaks for each class.

    The softmax over classes of the class maps A_i (Eq. 10), enlarged to (H, W).
    """
    exponent = np.exp(class_maps - class_maps.max(axis=0))
    shares = (exponent / exponent.sum(axis=0)).astype(np.float32)
    return np.stack(
        [cv2.resize(share, size[::-1], interpolation=cv2.INTER_LINEAR) for share in shares]
    )


def png(pixels: np.ndarray) -> bytes:
    """Encode gray (uint8 or uint16), RGB or RGBA pixels."""
    if pixels.ndim == 3:
        order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        pixels = cv2.cvtColor(pixels, order)
    done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise ImageError(f"a PNG of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be encoded")
    return encoded.tobytes()
