"""Images too large for one pass: tiles through the graph, Eq. 8 to 11 over the whole image."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from wsol_deploy.errors import ImageError, UsageError
from wsol_deploy.runtime.large_prediction import LargePrediction, cell_size, centres, in_cells
from wsol_deploy.runtime.postprocess import NO_POST, PostProcess
from wsol_deploy.runtime.predictor import Predictor
from wsol_deploy.runtime.pyramids import Pyramid, View
from wsol_deploy.runtime.tiles import Tile, Tiling
from wsol_deploy.runtime.trust import assess
from wsol_deploy.runtime.whole import Outputs, Whole

BRIGHT, COLOURLESS, TISSUE = 200, 25, 0.01


@dataclass(frozen=True, slots=True)
class Scale:
    """At which size an image is predicted; by default at what the card's size policy makes of it.

    Attributes:
        level: of the pyramid, 0 the largest; or None.
        mpp: micrometres of a pixel; or None.

    Raises:
        UsageError: both are given.
    """

    level: int | None = None
    mpp: float | None = None

    def __post_init__(self) -> None:
        if self.level is not None and self.mpp is not None:
            raise UsageError("--level and --mpp both say at which size to predict: give one")

    def size(self, pyramid: Pyramid, predictor: Predictor) -> tuple[int, int]:
        """(height, width) the graph sees.

        Raises:
            ImageError: there is no such level, or the file does not say how large its pixels are.
        """
        height, width = pyramid.sizes[0]
        if self.level is not None:
            if self.level >= len(pyramid.sizes):
                raise ImageError(f"it has no level {self.level}, but {len(pyramid.sizes)} from 0")
            return pyramid.sizes[self.level]
        if self.mpp is not None:
            if pyramid.mpp is None:
                raise ImageError("it does not say how large its pixels are; use --level")
            x, y = (min(1.0, size / self.mpp) for size in pyramid.mpp)
            return max(1, round(height * y)), max(1, round(width * x))
        return predictor.card.input.size.target(height, width)


def predict_large(
    predictor: Predictor,
    pyramid: Pyramid,
    *,
    scale: Scale = Scale(),
    tiling: Tiling = Tiling(),
    skip_background: bool = False,
    threshold: float | None = None,
    post: PostProcess = NO_POST,
    keep_image: bool = False,
    streams: int = 1,
) -> LargePrediction:
    """Predict an image that is read a rectangle at a time.

    The class maps of overlapping tiles are blended into those of the whole image; posterior, T
    and its range (Eq. 8, 10 and 11) are then the whole image's. `probs` and `background_probs`
    are the tiles' own, averaged by how much of the image's foreground and background each tile
    holds.

    Args:
        predictor: with the output `class_maps`.
        pyramid: the image.
        scale: the size at which it is predicted.
        tiling: how it is cut.
        skip_background: leave out tiles of bare glass: bright and colourless.
        threshold: of the soft mask; None for the card's.
        post: steps between soft mask and mask, in pixels of the size predicted.
        keep_image: keep the image, one pixel a cell.
        streams: batches of tiles predicted at the same time.

    Raises:
        ArtifactError: the card does not say how the mask follows from class maps.
        ImageError: the image cannot be read.
    """
    graph = scale.size(pyramid, predictor)
    own = scale == Scale()
    size = pyramid.sizes[0] if own else graph
    tiles = _read(
        View(pyramid, graph), tiling.cut(graph), predictor.card.input.min_side, skip_background
    )
    whole = Whole(predictor, graph, tiling.overlap)
    for tile, outputs in _run(predictor, tiles, streams):
        whole.lay(tile, outputs)
    maps, soft, found = whole.finish(size)
    step = cell_size(size)
    cells = centres(size[0], step), centres(size[1], step)
    seen = soft.view(*cells)
    probs, background = found.get("probs"), found.get("background_probs")
    return LargePrediction(
        probability=seen,
        threshold=predictor.card.threshold.value if threshold is None else threshold,
        classes=tuple(predictor.card.classes),
        probs=probs,
        localizer_probs=found.get("localizer_probs"),
        background_probs=background,
        class_maps=maps,
        trust=assess(predictor.card, seen, probs, background),
        post=post if post == NO_POST else in_cells(post, step),
        image=_picture(pyramid, len(cells[0]), len(cells[1])) if keep_image else None,
        soft=soft,
        step=step,
        whole=pyramid.sizes[0],
        pixel_size=_pixel_size(pyramid, size),
    )


def _read(
    view: View, tiles: Iterable[Tile], least: int, skip_background: bool
) -> Iterator[tuple[Tile, np.ndarray]]:
    for tile in tiles:
        pixels = view.read(*tile)
        if skip_background and _is_glass(pixels):
            continue
        lacking = [max(0, least - side) for side in pixels.shape[:2]]
        if any(lacking):
            pixels = np.pad(pixels, ((0, lacking[0]), (0, lacking[1]), (0, 0)), mode="edge")
        yield tile, pixels


def _is_glass(pixels: np.ndarray) -> bool:
    high, low = pixels.max(axis=2), pixels.min(axis=2)
    return float(((low < BRIGHT) | (high - low > COLOURLESS)).mean()) < TISSUE


def _run(
    predictor: Predictor, tiles: Iterator[tuple[Tile, np.ndarray]], streams: int
) -> Iterator[tuple[Tile, Outputs]]:
    """The tiles' outputs without the batch axis, in order; reading goes on meanwhile."""
    waiting: deque[tuple[list[Tile], Future[Outputs]]] = deque()
    with ThreadPoolExecutor(streams, "tiles") as pool:
        for group in _batches(tiles, predictor.batch_size):
            batch = np.stack([pixels for _, pixels in group])
            waiting.append(([tile for tile, _ in group], pool.submit(predictor.run, batch)))
            if len(waiting) > streams:
                yield from _rows(*waiting.popleft())
        while waiting:
            yield from _rows(*waiting.popleft())


def _rows(tiles: list[Tile], running: Future[Outputs]) -> Iterator[tuple[Tile, Outputs]]:
    outputs = running.result()
    for row, tile in enumerate(tiles):
        yield tile, {name: values[row] for name, values in outputs.items()}


def _batches(
    tiles: Iterator[tuple[Tile, np.ndarray]], size: int
) -> Iterator[list[tuple[Tile, np.ndarray]]]:
    """Neighbours of equal shape, at most `size` together."""
    group: list[tuple[Tile, np.ndarray]] = []
    for tile, pixels in tiles:
        if group and (len(group) == size or pixels.shape != group[0][1].shape):
            yield group
            group = []
        group.append((tile, pixels))
    if group:
        yield group


def _picture(pyramid: Pyramid, height: int, width: int) -> np.ndarray:
    return View(pyramid, (height, width)).read(0, 0, height, width)


def _pixel_size(pyramid: Pyramid, size: tuple[int, int]) -> tuple[float, float] | None:
    if pyramid.mpp is None:
        return None
    height, width = pyramid.sizes[0]
    return pyramid.mpp[0] * width / size[1], pyramid.mpp[1] * height / size[0]
