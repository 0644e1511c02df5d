"""Pixel metrics against values worked out by hand, and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol_deploy.errors import DataError
from wsol_deploy.evaluation.pixels import (
    EDGES,
    Counts,
    check_scores,
    dice_curves,
    precision_recall,
    pxap,
    score_histogram,
)

unit = st.floats(0, 1, width=32)
scores_8x8 = arrays(np.float32, (8, 8), elements=unit)
truth_8x8 = arrays(bool, (8, 8))


def mask(*rows: str) -> np.ndarray:
    return np.array([[cell == "#" for cell in row] for row in rows])


def test_f1_and_iou_by_hand() -> None:
    counts = Counts.of(mask("##..", "##.."), mask("###.", "...."))
    assert counts == Counts(2, 2, 1, 3)
    assert counts.f1_plus == pytest.approx(4 / 7)
    assert counts.f1_minus == pytest.approx(6 / 9)
    assert counts.iou == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("predicted", "truth", "f1_plus", "f1_minus", "iou"),
    [
        ("....", "....", 1, 1, 1),
        ("####", "####", 1, 1, 1),
        ("#...", "....", 0, 6 / 7, 0),
        ("####", "##..", 4 / 6, 0, 1 / 2),
        ("....", "##..", 0, 4 / 6, 0),
    ],
)
def test_f1_where_a_side_is_empty(
    predicted: str, truth: str, f1_plus: float, f1_minus: float, iou: float
) -> None:
    counts = Counts.of(mask(predicted), mask(truth))
    assert (counts.f1_plus, counts.f1_minus, counts.iou) == pytest.approx((f1_plus, f1_minus, iou))


@given(truth_8x8, truth_8x8)
def test_f1_is_symmetric_and_f1_minus_is_f1_plus_of_the_complements(a, b) -> None:
    there, back, inside_out = Counts.of(a, b), Counts.of(b, a), Counts.of(~a, ~b)
    assert there.f1_plus == back.f1_plus
    assert there.f1_minus == back.f1_minus == inside_out.f1_plus
    assert there.iou <= there.f1_plus <= 1


def test_pxap_by_hand() -> None:
    scores = np.array([[0.9, 0.6], [0.3, 0.1]])
    truth = np.array([[True, False], [True, False]])
    # >= 0.9: precision 1, recall 1/2; >= 0.3: precision 2/3, recall 1.
    assert pxap(score_histogram(scores, truth)) == pytest.approx(1 * 0.5 + 2 / 3 * 0.5)


def test_pxap_does_not_tell_apart_scores_of_one_bin() -> None:
    truth = np.array([[True, False]])
    assert pxap(score_histogram(np.array([[0.509, 0.501]]), truth)) == pytest.approx(0.5)
    assert pxap(score_histogram(np.array([[0.511, 0.509]]), truth)) == pytest.approx(1.0)


def test_pxap_pools_the_pixels_of_all_images() -> None:
    one = score_histogram(np.array([[0.8, 0.2]]), np.array([[True, False]]))
    two = score_histogram(np.array([[0.9, 0.1]]), np.array([[False, True]]))
    # 0.9 wrong, 0.8 right, 0.2 wrong, 0.1 right: 1/2 x 1/2 + 2/4 x 1/2.
    assert pxap(one + two) == pytest.approx(0.5)


@pytest.mark.parametrize("level", [0.0, 0.005, 0.5, 1.0])
def test_pxap_of_a_constant_map_is_the_share_of_foreground(level: float) -> None:
    truth = mask("##......")
    assert pxap(score_histogram(np.full(truth.shape, level), truth)) == pytest.approx(0.25)


@given(truth_8x8.filter(np.any))
def test_pxap_of_a_perfect_map_is_one(truth) -> None:
    assert pxap(score_histogram(truth.astype(np.float32), truth)) == pytest.approx(1.0)


@given(scores_8x8, truth_8x8.filter(np.any))
def test_pxap_lies_between_zero_and_one(scores, truth) -> None:
    assert 0 < pxap(score_histogram(scores, truth)) <= 1 + 1e-12


def test_ignored_pixels_are_left_out() -> None:
    scores, truth = np.array([[0.9, 0.8, 0.1]]), np.array([[False, True, False]])
    ignored = np.array([[True, False, False]])
    assert pxap(score_histogram(scores, truth)) == pytest.approx(0.5)
    assert pxap(score_histogram(scores, truth, ignored)) == pytest.approx(1.0)


@given(
    arrays(
        np.float32,
        (5, 40),
        elements=st.one_of(unit, st.integers(0, 100).map(lambda k: float(np.float32(k / 100)))),
    ),
    arrays(bool, (5, 40)),
)
def test_histogram_is_numpys_to_the_pixel(scores, truth) -> None:
    expected = [np.histogram(scores[side], bins=EDGES)[0] for side in (truth, ~truth)]
    np.testing.assert_array_equal(score_histogram(scores, truth), expected)


@given(truth_8x8, truth_8x8)
def test_histogram_of_a_mask_is_that_of_its_zeros_and_ones(predicted, truth) -> None:
    np.testing.assert_array_equal(
        Counts.of(predicted, truth).histogram,
        score_histogram(predicted.astype(np.float32), truth),
    )


@given(scores_8x8, truth_8x8)
def test_dice_curves_are_dice_at_each_threshold(scores, truth) -> None:
    curves = dice_curves(score_histogram(scores, truth))
    for place in (0, 1, 29, 50, 99, 100):
        counts = Counts.of(scores >= EDGES[place], truth)
        assert curves[:, place] == pytest.approx([counts.f1_plus, counts.f1_minus])


def test_precision_and_recall_fall_and_rise() -> None:
    scores = np.array([[0.9, 0.6, 0.3, 0.1]])
    precision, recall = precision_recall(
        score_histogram(scores, np.array([[True, False, True, False]]))
    )
    assert np.all(np.diff(recall) >= 0)
    assert recall[-1] == 1
    assert precision[-1] == 0.5
    assert precision[0] == 0  # nothing reaches a score of 2


def test_no_foreground_anywhere_is_an_error() -> None:
    with pytest.raises(DataError, match="no truth mask has a foreground pixel"):
        pxap(score_histogram(np.zeros((2, 2)), np.zeros((2, 2), bool)))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.array([[0.1, np.nan]]), "a.png: NaN"),
        (np.array([[0.1, 1.5]]), r"a.png: scores from 0.1 to 1.5"),
        (np.array([[-0.5, 1.0]]), "must lie in"),
        (np.zeros(3), "H x W"),
    ],
)
def test_broken_score_maps_are_refused(scores: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_scores(scores, "a.png")
