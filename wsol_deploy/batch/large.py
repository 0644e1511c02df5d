"""Which images are predicted in tiles, and how."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from wsol_deploy import images
from wsol_deploy.batch.options import Options
from wsol_deploy.card import SizePolicy
from wsol_deploy.errors import ImageError
from wsol_deploy.runtime import Predictor
from wsol_deploy.runtime.large import Scale, predict_large
from wsol_deploy.runtime.large_prediction import LargePrediction
from wsol_deploy.runtime.pyramids import SLIDE_SUFFIXES, TIFF_SUFFIXES, Pyramid

MOST_ENLARGED = 4


def is_large(path: Path, policy: SizePolicy, options: Options) -> bool:
    """Whether an image is streamed in tiles; decided by its name and its header.

    Whole slides are, TIFF files if a level or a pixel size is chosen or if they are too large to
    be decoded, and every image of which the graph would see more than `options.tile_above`
    pixels.
    """
    suffix = path.suffix.lower()
    if suffix in SLIDE_SUFFIXES:
        return True
    can_stream = suffix in TIFF_SUFFIXES
    if can_stream and options.scale != Scale():
        return True
    try:
        height, width = images.size(path)
    except ImageError as error:
        return can_stream and isinstance(error.__cause__, Image.DecompressionBombError)
    if height * width > images.MAX_PIXELS:
        return can_stream
    graph = policy.target(height, width)
    return options.tile_above < graph[0] * graph[1] <= MOST_ENLARGED * height * width


def predict(
    predictor: Predictor, pyramid: Pyramid, options: Options, keep_image: bool, streams: int
) -> LargePrediction:
    """Predict a large image as the options say; see `predict_large`."""
    return predict_large(
        predictor,
        pyramid,
        scale=options.scale,
        tiling=options.tiling,
        skip_background=options.skip_background,
        threshold=options.threshold,
        post=options.post,
        keep_image=keep_image,
        streams=streams,
    )
