"""What the graph says of tiles, gathered into what it would say of the whole image."""

from __future__ import annotations

import numpy as np

from wsol_deploy.card import MASK_RULE_VERSION, MaskRule
from wsol_deploy.errors import ArtifactError, ImageError
from wsol_deploy.runtime.predictor import Predictor
from wsol_deploy.runtime.softmap import (
    SoftMap,
    drawn_map,
    logits,
    pooled_posterior,
    soft_map,
    towards_usual,
)
from wsol_deploy.runtime.tiles import GRAIN, Canvas, Tile

POSTERIORS = ("probs", "background_probs")
Outputs = dict[str, np.ndarray]


class Whole:
    """A whole image, tile by tile.

    Args:
        predictor: with the output `class_maps`.
        graph: (height, width) of the image as the graph sees it.
        overlap: of the tiles, in pixels.

    Raises:
        ArtifactError: the card does not say how the mask follows from class maps.
    """

    def __init__(self, predictor: Predictor, graph: tuple[int, int], overlap: int) -> None:
        self._predictor = predictor
        self._graph = graph
        self._rule = rule = _rule(predictor)
        self._maps = Canvas(graph, rule.stride, overlap)
        self._drawn = Canvas(graph, rule.pixel_stride, overlap) if rule.pixel_stride else None
        self._tiles: list[tuple[Tile, Outputs]] = []

    def lay(self, tile: Tile, outputs: Outputs) -> None:
        """Add a tile's outputs, without the batch axis.

        How far the graph moved the tile's share of foreground is taken back: the image's is moved.
        """
        self._maps.lay(tile, outputs["class_maps"])
        if self._drawn is not None and self._rule.pixel_stride:
            mask = outputs["mask"][0]
            if self._rule.usual is not None:
                mask = mask + (mask.mean() - np.float32(self._rule.usual))
            self._drawn.lay(tile, logits(mask, self._rule.pixel_stride))
        self._tiles.append((tile, {key: outputs[key] for key in POSTERIORS if key in outputs}))

    def finish(self, size: tuple[int, int]) -> tuple[np.ndarray, SoftMap, Outputs]:
        """The class maps, the soft mask of (height, width) pixels, and the posteriors.

        Raises:
            ImageError: no tile was added.
        """
        if not self._tiles:
            raise ImageError("there is only bare glass; predict it without --skip-background")
        maps, covered = self._maps.finish()
        pooled = pooled_posterior(maps, covered, self._rule)
        if self._drawn is None:
            soft = soft_map(maps, covered, pooled, self._rule, self._graph, size)
            return maps, soft, self._posteriors(pooled, soft, self._maps)
        drawn, covered = self._drawn.finish()
        if self._rule.usual is not None:
            drawn = towards_usual(drawn, covered, self._rule.usual)
        soft = drawn_map(drawn[0], covered, self._rule.pixel_stride or 1, self._graph, size)
        return maps, soft, self._posteriors(pooled, soft, self._drawn)

    def _posteriors(self, pooled: np.ndarray, soft: SoftMap, canvas: Canvas) -> Outputs:
        """Those that the model has and that were asked for."""
        if "localizer_probs" not in self._predictor.card.outputs:
            return {"probs": pooled}
        found = {"localizer_probs": pooled}
        names = [name for name in POSTERIORS if name in self._predictor.outputs]
        if names:
            shares = np.array([_regions(soft, canvas, tile) for tile, _ in self._tiles])
        for name in names:
            values = np.array([outputs[name] for _, outputs in self._tiles])
            weights = shares[:, POSTERIORS.index(name)] + np.finfo(np.float32).tiny
            found[name] = (weights @ values / weights.sum()).astype(np.float32)
        return found


def _regions(soft: SoftMap, canvas: Canvas, tile: Tile) -> tuple[float, float]:
    """How much of the image's foreground, and of its background, is the tile's."""
    window, share = canvas.share(tile)
    foreground = float((soft.cells(window) * share).sum(dtype=np.float64))
    return foreground, float(share.sum(dtype=np.float64)) - foreground


def _rule(predictor: Predictor) -> MaskRule:
    rule = predictor.card.mask_rule
    if rule is None or rule.version != MASK_RULE_VERSION or "class_maps" not in predictor.outputs:
        raise ArtifactError(
            f"{predictor.path}: its card does not say how its mask follows from class maps, so it "
            "cannot see an image in tiles; export it again (multi-label models never say it), or "
            "give smaller images"
        )
    if any(GRAIN % stride for stride in (rule.stride, rule.pixel_stride or 1)):
        raise ArtifactError(
            f"{predictor.path}: class maps of stride {rule.stride} cannot be laid together from "
            "tiles; give smaller images, or train with another backbone"
        )
    return rule
