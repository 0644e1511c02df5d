"""What soft masks are like, and their odds changed alike in all places."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")

from wsol_deploy.train.soft_masks import (  # noqa: E402
    ambiguity,
    objects,
    odds_to_cover,
    sharpening,
    shifted,
)


@given(
    arrays(np.float32, (3, 6, 7), elements=st.floats(0, 1, width=32)),
    st.floats(0.05, 0.95),
)
def test_masks_cover_the_share_and_keep_their_order(values, share):
    masks = torch.from_numpy(values)
    values[:, 0, 0] = 1.0  # shown
    result = shifted(masks[None], odds_to_cover(masks, share))[0]
    assert result.mean().item() == pytest.approx(share, abs=1e-4)
    assert (result.flatten()[masks.flatten().argsort()].diff() >= -1e-6).all()


def test_the_odds_change_by_one_factor_of_masks_that_are_shown():
    masks = torch.tensor([[[[0.9, 0.5], [0.2, 0.6]], [[0.3, 0.4], [0.2, 0.1]]]])
    found = shifted(masks, math.log(0.25))
    odds = [mask / (1 - mask) for mask in (found[:, 0], masks[:, 0])]
    assert (odds[0] / odds[1]).flatten().tolist() == pytest.approx([0.25] * 4, rel=1e-4)
    assert torch.equal(found[:, 1], masks[:, 1])


@given(
    arrays(np.float32, (2, 5, 5), elements=st.floats(0.3125, 0.6875, width=32)), st.floats(0.2, 0.8)
)
def test_masks_are_sharpened_until_they_are_as_ambiguous(values, wanted):
    values[:, 0] = 0.6
    masks = torch.from_numpy(values)
    factor = sharpening(masks, wanted)
    sharp = (masks.logit() * factor).sigmoid()
    assert factor >= 1
    if factor < 99:  # a mask of halves is never sharp
        assert ambiguity(sharp) == pytest.approx(wanted, abs=1e-3)
    assert torch.equal(sharp > 0.5, masks > 0.5)
    assert sharpening(masks, 1.0) == pytest.approx(1, abs=1e-4)
    assert sharpening(masks[:0], wanted) == 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_objects_are_counted_by_their_size(sizes):
    mask = np.zeros((2 * len(sizes), 9), np.float32)
    for row, size in enumerate(sizes):
        mask[2 * row, :size] = 0.9
    shares = [size / sum(sizes) for size in sizes]
    assert objects(mask) == pytest.approx(1 / sum(share**2 for share in shares))
    assert objects(np.zeros((3, 3), np.float32)) == 0
