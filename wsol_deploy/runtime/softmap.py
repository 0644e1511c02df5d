"""The soft mask of a whole image from its class maps, in numpy (Eq. 8, 10 and 11).

T is small: one value for each cell of the class maps. It is kept so, and enlarged only for the
pixels that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsol_deploy.card import MaskRule

SMALLEST_RANGE = 1e-6
LEAST = 1e-6
ROWS_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class SoftMap:
    """R+ of an image (Eq. 11), computed where it is asked for.

    Attributes:
        t: float32, h' x w': T, rescaled.
        rule: how T becomes the mask.
        graph: (height, width) of the image as the graph saw it.
        size: (height, width) of the pixels given out.
    """

    t: np.ndarray
    rule: MaskRule
    graph: tuple[int, int]
    size: tuple[int, int]

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """float32, R x C in [0, 1]: the pixels where these rows and columns of `size` cross."""
        return _squash(self._t_at(self._seen(rows, 0), self._seen(columns, 1)), self.rule)

    def view(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """`at`, a few rows at a time."""
        found = np.empty((len(rows), len(columns)), np.float32)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            found[part] = self.at(rows[part], columns)
        return found

    def cells(self, window: tuple[slice, slice]) -> np.ndarray:
        """float32 in [0, 1]: R+ at some of T's cells."""
        return _squash(self.t[window].copy(), self.rule)

    def _seen(self, pixels: np.ndarray, axis: int) -> np.ndarray:
        """Where pixels of `size` lie in the graph's image, pixel centres on pixel centres."""
        scale = self.graph[axis] / self.size[axis]
        return (pixels + 0.5) * scale - 0.5

    def _t_at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return _bilinear(
            self.t,
            _cell(rows, self.t.shape[0], self.graph[0], self.rule),
            _cell(columns, self.t.shape[1], self.graph[1], self.rule),
        )


def soft_map(
    maps: np.ndarray,
    covered: np.ndarray,
    posterior: np.ndarray,
    rule: MaskRule,
    graph: tuple[int, int],
    size: tuple[int, int],
) -> SoftMap:
    """Eq. 10 and the rescaling before Eq. 11, over the whole image.

    Args:
        maps: float32, c x h' x w': A.
        covered: bool, h' x w': where A is known; elsewhere T takes its lowest value.
        posterior: float32, c.
        rule: of the card.
        graph, size: see `SoftMap`.
    """
    t = np.tensordot(_weights(posterior, rule), maps, 1)
    t[~covered] = t[covered].min()
    if rule.low is None or rule.high is None:
        rows = _extremes(t.shape[0], graph[0], rule)
        columns = _extremes(t.shape[1], graph[1], rule)
        laid = _bilinear(t, rows, columns)
        low, high = laid.min(), laid.max()
    else:
        low, high = np.float32(rule.low), np.float32(rule.high)
    return SoftMap((t - low) / max(high - low, SMALLEST_RANGE), rule, graph, size)


def logits(mask: np.ndarray, stride: int) -> np.ndarray:
    """The logits (float32, 1 x h x w) that a pixel head drew a mask (float32, H x W) from."""
    mask = np.clip(mask, LEAST, 1 - LEAST)
    laid = np.log(mask / (1 - mask))
    return _at_middles(_at_middles(laid, stride).T, stride).T[None]


def towards_usual(logits: np.ndarray, covered: np.ndarray, usual: float) -> np.ndarray:
    """Logits (float32, 1 x h x w) of the mask whose share of the image went half-way to the usual.

    Args:
        covered: bool, h x w: where there are any; the share is of what is there.
    """
    mask = 1 / (1 + np.exp(-logits))
    mask += (np.float32(usual) - mask[:, covered].mean(dtype=np.float64).astype(np.float32)) / 2
    mask = np.clip(mask, LEAST, 1 - LEAST)
    return np.log(mask / (1 - mask))


def _at_middles(laid: np.ndarray, stride: int) -> np.ndarray:
    """Rows of what was laid over pixels by straight lines, at the middles of cells, which are
    between pixels or even beyond the last: on the line through the two pixels before."""
    middles = np.arange(0, len(laid), stride, dtype=np.float32) + np.float32((stride - 1) / 2)
    last = np.minimum(middles.astype(np.int64), len(laid) - 1)
    slope = laid[last] - laid[np.maximum(last - 1, 0)]
    return laid[last] + (middles - last)[:, None] * slope


def drawn_map(
    logits: np.ndarray,
    covered: np.ndarray,
    stride: int,
    graph: tuple[int, int],
    size: tuple[int, int],
) -> SoftMap:
    """The soft mask of a pixel head from its logits (float32, h'' x w''); nothing elsewhere."""
    logits[~covered] = np.log(LEAST)
    rule = MaskRule(stride=stride, alignment="middle", omega=1.0, sigma_prime=0.0)
    return SoftMap(logits, rule, graph, size)


def pooled_posterior(maps: np.ndarray, covered: np.ndarray, rule: MaskRule) -> np.ndarray:
    """Eq. 8: float32, c, the localizer's posterior from A (float32, c x h' x w')."""
    values = maps[:, covered]
    score = _pool(values, rule)
    exponent = np.exp(score - score.max())
    return (exponent / exponent.sum()).astype(np.float32)


def _weights(posterior: np.ndarray, rule: MaskRule) -> np.ndarray:
    if rule.weights == "posterior":
        return posterior
    return (np.arange(len(posterior)) == posterior.argmax()).astype(np.float32)


def _pool(values: np.ndarray, rule: MaskRule) -> np.ndarray:
    """float64, c: the scores of values (c x n)."""
    if rule.lse_r is not None:
        top = values.max(1, keepdims=True)
        mean = np.exp(rule.lse_r * (values - top)).mean(1, dtype=np.float64)
        return top[:, 0] + np.log(mean) / rule.lse_r
    count = values.shape[1]
    highest = _count(rule.kmax, count)
    score = np.partition(values, count - highest)[:, count - highest :].mean(1, dtype=np.float64)
    if rule.alpha and rule.kmin:
        lowest = _count(rule.kmin, count)
        below = np.partition(values, lowest - 1)[:, :lowest].mean(1, dtype=np.float64)
        score = score + rule.alpha * below
    return score


def _count(fraction: float, count: int) -> int:
    return max(1, round(fraction * count))


def _cell(pixels: np.ndarray, cells: int, side: int, rule: MaskRule) -> np.ndarray:
    """The place of pixels of the graph's image among the cells of T."""
    if rule.alignment == "corners":
        places = pixels * ((cells - 1) / max(side - 1, 1))
    else:
        places = (pixels + 0.5) / rule.stride - 0.5
    return np.clip(places, 0, cells - 1)


def _extremes(cells: int, side: int, rule: MaskRule) -> np.ndarray:
    """Places of the pixels beside each cell: T over all pixels is nowhere lower or higher."""
    if rule.alignment == "corners":
        nodes = np.arange(cells) * ((side - 1) / max(cells - 1, 1))
    else:
        nodes = np.arange(cells) * rule.stride + (rule.stride - 1) / 2
    near = np.unique(np.clip(np.concatenate([np.floor(nodes), np.ceil(nodes)]), 0, side - 1))
    return _cell(near, cells, side, rule)


def _squash(t: np.ndarray, rule: MaskRule) -> np.ndarray:
    """Eq. 11, in place."""
    if rule.omega is None:
        return np.clip(t, 0, 1, out=t)
    t -= np.float32(rule.sigma_prime)
    t *= np.float32(-rule.omega)
    np.exp(t, out=t)
    t += 1
    return np.reciprocal(t, out=t)


def _bilinear(t: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float32, R x C: t at places given in cells."""
    return _lerp(_lerp(t, rows).T, columns).T


def _lerp(t: np.ndarray, places: np.ndarray) -> np.ndarray:
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, len(t) - 1)
    share = (places - low).astype(np.float32)[:, None]
    below = t[low]
    result = t[high]
    result -= below
    result *= share
    result += below
    return result
