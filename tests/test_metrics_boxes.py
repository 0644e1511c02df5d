"""Box metrics against values worked out by hand from the reference evaluator's definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol_deploy.errors import DataError
from wsol_deploy.evaluation.boxes import (
    THRESHOLDS,
    BoxOverlap,
    box_iou,
    boxes_of_mask,
    boxes_of_scores,
    localisation,
    max_box_acc,
    max_box_acc_v2,
    resize_boxes,
)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 1, 1), (1, 1, 2, 2), 1 / 7),
        ((0, 0, 9, 9), (0, 0, 9, 4), 50 / 100),
        ((5, 5, 5, 5), (5, 5, 5, 5), 1.0),
        ((0, 0, 0, 0), (1, 0, 1, 0), 0.0),
        ((0, 0, 3, 3), (10, 10, 12, 12), 0.0),
    ],
)
def test_iou_counts_inclusive_pixels(one: tuple, other: tuple, expected: float) -> None:
    assert box_iou(np.array([one]), np.array([other])) == pytest.approx(expected)


def test_iou_of_every_pair() -> None:
    boxes = np.array([(0, 0, 1, 1), (4, 4, 5, 5)])
    np.testing.assert_allclose(box_iou(boxes, boxes[::-1]), [[0, 1], [1, 0]])


def test_swapped_corners_are_refused() -> None:
    with pytest.raises(DataError, match="x0, y0, x1, y1"):
        box_iou(np.array([(5, 0, 1, 1)]), np.array([(0, 0, 1, 1)]))


def test_boxes_are_resized_and_cut_to_whole_pixels() -> None:
    # x by 224/320 = 0.7: 27.93, 179.9; y by 224/205: 47.31, 219.19.
    resized = resize_boxes([(39.9, 43.3, 257.0, 200.6)], height=205, width=320)
    assert resized.tolist() == [[27, 47, 179, 219]]


def blank(*blocks: tuple[int, int, int, int, float]) -> np.ndarray:
    scores = np.zeros((8, 10), dtype=np.float32)
    for x, y, w, h, value in blocks:
        scores[y : y + h, x : x + w] = value
    return scores


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        (blank((2, 3, 3, 2, 1.0)), 0.5, (2, 3, 5, 5)),  # x1 = x + w
        (blank((7, 6, 3, 2, 1.0)), 0.5, (7, 6, 9, 7)),  # clipped to width - 1, height - 1
        (blank(), 0.0, (0, 0, 0, 0)),  # none found
        (blank((0, 0, 10, 8, 1.0)), 0.0, (0, 0, 9, 7)),
        (blank((2, 3, 3, 2, 0.4)), 0.9, (2, 3, 5, 5)),  # relative to the map's maximum
        (blank((2, 3, 3, 2, 1.0)), 1.0, (0, 0, 0, 0)),  # strictly greater
        (blank((0, 0, 1, 1, 1.0), (4, 4, 3, 3, 127.5 / 255)), 0.5, (0, 0, 1, 1)),  # 127 > 127: no
        (blank((0, 0, 1, 1, 1.0), (4, 4, 3, 3, 128.5 / 255)), 0.5, (4, 4, 7, 7)),  # 128 > 127
        # The largest by contour area: a line's is 0, that of 2 x 2 pixels 1.
        (blank((0, 0, 9, 1, 1.0), (3, 3, 2, 2, 1.0)), 0.5, (3, 3, 5, 5)),
    ],
)
def test_largest_box_of_a_map(scores: np.ndarray, threshold: float, expected: tuple) -> None:
    assert boxes_of_scores(scores, [threshold])[0].largest == expected


def test_every_contour_gives_a_box_holes_too() -> None:
    scores = blank((0, 0, 5, 5, 1.0), (7, 0, 2, 2, 1.0))
    scores[2, 2] = 0
    found = boxes_of_scores(scores, [0.5])[0]
    assert set(found.every) == {(0, 0, 5, 5), (7, 0, 9, 2), (1, 1, 4, 4)}


def test_boxes_shrink_as_the_threshold_rises() -> None:
    scores = blank((1, 1, 8, 6, 0.5), (3, 3, 2, 2, 1.0))
    low, high = boxes_of_scores(scores, [0.2, 0.8])
    assert (low.largest, high.largest) == ((1, 1, 9, 7), (3, 3, 5, 5))


def test_max_box_acc_takes_one_threshold_for_all_images() -> None:
    early, late = np.zeros((4, 100)), np.zeros((4, 100))
    early[:, :50], late[:, 50:] = 1, 1
    assert max_box_acc(early + late, 2) == pytest.approx(0.5)  # an oracle per image would say 1
    assert max_box_acc_v2(early + late, 2) == pytest.approx(0.5)


def test_max_box_acc_v2_is_the_mean_of_each_levels_best() -> None:
    hits = np.zeros((4, 100))
    hits[0, 5] = 1
    hits[1, 7], hits[2, 20], hits[3, 60] = 4, 3, 1
    assert max_box_acc(hits, 4) == pytest.approx(1 / 4)
    assert max_box_acc_v2(hits, 4) == pytest.approx((4 + 3 + 1) / 12)


def test_localisation_uses_max_box_accs_threshold() -> None:
    hits, right = np.zeros((4, 100)), np.zeros(100)
    hits[0, 30], hits[0, 40] = 4, 3
    right[30], right[40] = 2, 3
    assert localisation(hits, right, 4) == pytest.approx(0.5)


def test_overlap_of_a_perfect_map() -> None:
    scores = np.zeros((224, 224), dtype=np.float32)
    scores[50:150, 30:130] = 1
    overlap = BoxOverlap.of(scores, [(30, 50, 130, 150)], threshold=0.5)
    assert overlap.largest == pytest.approx(np.ones(100))
    assert overlap.at_threshold == pytest.approx(1.0)
    assert overlap.hits.sum() == 400


def test_overlap_takes_the_best_of_several_truths() -> None:
    scores = np.zeros((224, 224), dtype=np.float32)
    scores[50:150, 30:130] = 1
    scores[180:200, 180:220] = 1
    overlap = BoxOverlap.of(scores, [(180, 180, 220, 200)], threshold=0.5)
    assert overlap.largest.max() == 0
    assert overlap.every == pytest.approx(np.ones(100))


blurry = arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32)).map(
    lambda small: np.kron(small, np.ones((9, 9), np.float32))
)


@settings(max_examples=40)
@given(blurry, st.tuples(*[st.integers(0, 25)] * 4))
def test_orders_between_the_box_metrics(scores, corner) -> None:
    x, y, w, h = corner
    overlap = BoxOverlap.of(scores, [(x, y, x + w, y + h)], threshold=0.5)
    hits = overlap.hits
    assert np.all(overlap.every >= overlap.largest)
    assert np.all(hits[1] >= hits[2])
    assert np.all(hits[2] >= hits[3])
    assert np.all(hits[2] >= hits[0])
    assert max_box_acc_v2(hits, 1) <= hits[1].max()
    assert localisation(hits, hits[0] * 0, 1) == 0 <= max_box_acc(hits, 1)


@settings(max_examples=40)
@given(blurry)
def test_shared_thresholds_change_nothing(scores) -> None:
    together = boxes_of_scores(scores, THRESHOLDS)
    alone = [boxes_of_scores(scores, [threshold])[0] for threshold in THRESHOLDS]
    assert together == alone


def test_boxes_of_a_mask_are_its_regions() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    mask[10:30, 20:50] = True
    mask[60:90, 60:100] = True
    mask[0, 0] = True  # a speck under 0.1 % of the image
    assert set(boxes_of_mask(mask)) == {(20, 10, 50, 30), (60, 60, 99, 90)}


def test_a_small_object_still_has_its_box_and_an_empty_mask_has_none() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    assert boxes_of_mask(mask) == ()
    mask[5, 5:8] = True
    assert boxes_of_mask(mask) == ((5, 5, 8, 6),)
