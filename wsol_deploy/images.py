"""Read and resize images: the one way pixels enter training, evaluation and production."""

from __future__ import annotations

import io
import logging
import os
import warnings
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from wsol_deploy.card import SizePolicy
from wsol_deploy.errors import ImageError

logger = logging.getLogger(__name__)

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe")
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".jp2", ".tga",
))  # fmt: skip
# For the whole process: switching warnings off around a call is not safe among threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
PILLOW_LIMIT = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
MAX_PIXELS = int(os.environ.get("WSOL_MAX_PIXELS", PILLOW_LIMIT))
if MAX_PIXELS > PILLOW_LIMIT:
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2 + 1
# Files are recognised by their content; these formats only, none of which runs another program.
PLUGINS = (
    JpegImagePlugin.JpegImageFile, PngImagePlugin.PngImageFile, WebPImagePlugin.WebPImageFile,
    TiffImagePlugin.TiffImageFile, BmpImagePlugin.BmpImageFile, BmpImagePlugin.DibImageFile,
    GifImagePlugin.GifImageFile, PpmImagePlugin.PpmImageFile,
    Jpeg2KImagePlugin.Jpeg2KImageFile, TgaImagePlugin.TgaImageFile,
)  # fmt: skip
FORMATS = [plugin.format for plugin in PLUGINS]
ORIENTATION, PHOTOMETRIC = 0x0112, 0x0106
MIN_IS_WHITE = 0
TURNED = (5, 6, 7, 8)
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I", "F")


def read(source: Path | str | bytes) -> np.ndarray:
    """Decode an image as people see it.

    EXIF rotation is applied; grayscale, palette, CMYK and 16-bit images become RGB; alpha is
    laid over white; of several frames the first is taken.

    Args:
        source: a path, or an encoded file's bytes.

    Returns:
        uint8, H x W x 3, RGB, any H and W from 1 up.

    Raises:
        ImageError: missing, empty, no image, cut short, or larger than `MAX_PIXELS`.
    """
    where = "the image" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ImageError(f"{where}: cannot be read ({error.strerror or error})") from error
    if not content:
        raise ImageError(f"{where}: the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{where}: {_over_limit()}")
            pixels = np.asarray(_rgb(ImageOps.exif_transpose(image)))
            return 255 - pixels if _inverted(image) else pixels
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{where}: not an image, or of an unknown format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{where}: {_over_limit()}") from error
    except MemoryError as error:
        raise ImageError(f"{where}: too large for this machine's memory") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on hostile files
        raise ImageError(f"{where}: damaged or cut short ({error})") from error


def _inverted(image: Image.Image) -> bool:
    """Whether 0 is white and Pillow left it so: it turns TIFFs of 8 bits round, not of 16."""
    tags = getattr(image, "tag_v2", {})
    return image.mode in DEEP_MODES and tags.get(PHOTOMETRIC) == MIN_IS_WHITE


def _over_limit() -> str:
    return (
        f"its header claims more than the limit of {MAX_PIXELS:,} pixels; if that is true, set "
        "WSOL_MAX_PIXELS, or save it as a tiled TIFF, which is read in parts"
    )


def size(path: Path | str) -> tuple[int, int]:
    """(height, width) of an image as `read` gives it, from the file's header alone.

    A rotation that a PNG states behind its pixels is not seen.

    Raises:
        ImageError: the header cannot be read.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            # PngImageFile.getexif would decode the pixels, for the sake of what stands behind them.
            turned = Image.Image.getexif(image).get(ORIENTATION) in TURNED
            turned &= image.format != "TIFF"  # whose size is turned already
    except Exception as error:  # a damaged header fails in as many ways as there are plugins
        raise ImageError(f"{path}: its header cannot be read ({error})") from error
    return (width, height) if turned else (height, width)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP_MODES:
        values = np.asarray(image, dtype=np.float64)
        highest = values.max(initial=0, where=np.isfinite(values))
        scaled = np.nan_to_num(np.clip(values / _white(image.mode, highest), 0, 1))
        return Image.fromarray((scaled * 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _white(mode: str, highest: float) -> float:
    """What is white in a grayscale image of more than 8 bits: the most that 16 bits hold.

    Only 32 bits leave open what is meant: real numbers hardly above 1 are shares of white, other
    values up to 255 are of 8 bits.
    """
    if mode == "F" and highest < 2:
        return 1.0
    if mode in ("I", "F") and highest <= 255:
        return 255.0
    if 0 < highest < 65535 / 8:
        _warn_dark()
    return 65535.0


@cache
def _warn_dark() -> None:
    logger.warning(
        "a 16-bit image has no value above an eighth of 65535 and is seen nearly black; if the "
        "camera has fewer bits, multiply the values so that white is 65535 (said once)"
    )


def read_mask(path: Path | str) -> np.ndarray:
    """Decode a truth mask: bool, H x W, True where any channel is above 0 (instance ids too).

    Of a JPEG, which blurs edges, where any channel is above 127.

    Raises:
        ImageError: missing or damaged.
    """
    values = read_values(path)
    marked = values > (127 if Path(path).suffix.lower() in JPEG_SUFFIXES else 0)
    return np.asarray(marked.any(axis=2) if marked.ndim == 3 else marked)


def read_values(path: Path | str) -> np.ndarray:
    """A truth mask's values, H x W as in the file, or H x W x 3 of a colour image.

    Raises:
        ImageError: missing or damaged.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            # Palette indices are ids, not colours; an alpha channel marks nothing.
            return np.asarray(image.convert("RGB") if "A" in image.getbands() else image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: the mask cannot be read ({error})") from error


def is_image(path: Path) -> bool:
    """Whether the file's suffix is one that `read` decodes, and it is not a hidden file."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def find(root: Path) -> list[Path]:
    """Every image below a directory, sorted, hidden files and folders left out."""
    return sorted(
        path
        for path in root.rglob("*")
        if is_image(path)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )


def fit(image: np.ndarray, policy: SizePolicy) -> np.ndarray:
    """Resize an RGB image to what the graph sees (the card's size policy).

    Args:
        image: uint8, H x W x 3.
        policy: of the card.

    Returns:
        uint8, H' x W' x 3, each side at least 32; the same array if nothing is to do.
    """
    height, width = policy.target(*image.shape[:2])
    return resize(image, height, width)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 or float32 pixels: area averaging when shrinking, bilinear when growing.

    Pixel-aligned: pixel centres map to pixel centres, so a mask resized back lies on its image.
    """
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)
