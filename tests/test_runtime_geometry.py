"""Components and outlines: exact, valid as polygons, and the same shape in every form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from wsol_deploy.runtime.geometry import Polygon, components
from wsol_deploy.runtime.outlines import signed_area, trace

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def inside(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Even-odd rule at the pixels' centres, by crossings of a ray to the left."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    crossings = np.zeros(shape, int)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            meets = (rows > min(y0, y1)) & (rows < max(y0, y1))
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            crossings += meets & (at < columns)
    return crossings % 2 == 1


def region(mask: np.ndarray, part) -> np.ndarray:
    x, y, width, height = part.box
    full = np.zeros_like(mask)
    full[y : y + height, x : x + width] = part.pixels
    return full


@given(masks)
@settings(max_examples=150)
def test_components_share_out_the_mask(mask):
    parts = components(mask, mask.astype(np.float32))
    total = sum((region(mask, part).astype(int) for part in parts), np.zeros(mask.shape, int))
    assert np.array_equal(total, mask.astype(int))
    for part in parts:
        rows, columns = np.nonzero(region(mask, part))
        assert part.area == len(rows)
        assert part.centroid == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))
        assert part.mean_probability == 1


@given(masks)
@settings(max_examples=150)
def test_polygons_cover_exactly_their_component(mask):
    for part in components(mask, mask.astype(np.float32)):
        polygon = part.polygon
        assert polygon.area == part.area
        rings = [polygon.shell, *polygon.holes]
        assert np.array_equal(inside(rings, mask.shape), region(mask, part))
        assert np.array_equal(inside([polygon.keyhole()], mask.shape), region(mask, part))


@given(masks)
@settings(max_examples=150)
def test_rings_are_simple_and_turn_the_right_way(mask):
    rings = trace(mask)
    assert sum(signed_area(ring) for ring in rings) == mask.sum()
    for ring in rings:
        assert len({tuple(corner) for corner in ring.tolist()}) == len(ring) >= 4
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps != 0).sum(axis=1) == 1).all()


@given(masks)
@settings(max_examples=50)
def test_components_come_from_top_to_bottom(mask):
    tops = [(part.box[1], part.box[0]) for part in components(mask, mask.astype(np.float32))]
    assert tops == sorted(tops)


def test_corners_that_touch_are_two_polygons():
    mask = np.array([[1, 0], [0, 1]], bool)
    parts = components(mask, mask.astype(np.float32))
    assert [part.box for part in parts] == [(0, 0, 1, 1), (1, 1, 1, 1)]
    assert parts[0].polygon.shell.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]


def test_a_ring_pinched_at_a_corner_has_a_hole():
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    (part,) = components(mask, mask.astype(np.float32))
    assert len(part.polygon.holes) == 1
    assert part.polygon.area == 7


def test_nothing_and_everything():
    assert trace(np.zeros((3, 3), bool)) == []
    assert components(np.zeros((3, 3), bool), np.zeros((3, 3), np.float32)) == []
    (ring,) = trace(np.ones((2, 3), bool))
    assert ring.tolist() == [[0, 0], [3, 0], [3, 2], [0, 2]]


@given(st.integers(3, 30), st.integers(0, 100))
@settings(max_examples=30)
def test_simplified_outlines_stay_close(radius, seed):
    offset = np.random.default_rng(seed).uniform(0, 1, 2)
    rows, columns = np.mgrid[:80, :80]
    distance = np.hypot(rows - 40 - offset[0], columns - 40 - offset[1])
    mask = (distance < radius) & (distance > radius / 3)
    for part in components(mask, mask.astype(np.float32)):
        exact, fewer = part.polygon, part.polygon.simplified(1.0)
        assert len(fewer.shell) <= len(exact.shell)
        covered = inside([fewer.shell, *fewer.holes], mask.shape)
        wrong = covered ^ region(mask, part)
        assert wrong.sum() <= 1.1 * (len(exact.shell) + sum(map(len, exact.holes)))


def test_a_sliver_simplifies_to_itself():
    sliver = Polygon(np.array([[0, 0], [9, 0], [9, 1], [0, 1]], np.int32))
    assert len(sliver.simplified(5.0).shell) == 4
