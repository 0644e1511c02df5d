"""The one threshold and the trust limits, fitted on validation data."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_samples import CLASSES, Folder, blob, predict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol_deploy.evaluation import calibrate, evaluate
from wsol_deploy.evaluation.threshold import _contrasts
from wsol_deploy.runtime.trust import contrast

TRUTH = blob(10, 10, 40, 20)
SURE, UNSURE = [0.99, 0.01], [0.5, 0.5]


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_the_threshold_has_the_best_mean_of_both_f1_over_all_images(folder):
    # Foreground at 0.8; a wrong region at 0.6 in one image, at 0.3 in the other.
    pairs = [
        (folder.sample(name, 0, TRUTH), predict(mask, probs=SURE))
        for name, mask in {"a": _wrong_at(0.6), "b": _wrong_at(0.6), "c": _wrong_at(0.3)}.items()
    ]
    threshold = calibrate(pairs, "toy, validation").threshold
    assert threshold.value == pytest.approx(0.61)  # nearest to 0.5 of those between 0.6 and 0.8
    assert threshold.chosen_on == "mean of F1+ and F1- on toy, validation, 3 images with masks"
    assert evaluate(pairs, CLASSES, threshold.value).values["f1_plus"] == 1


def test_what_one_image_alone_asks_for_is_within_the_error(folder):
    pairs = [
        (folder.sample(name, 0, TRUTH), predict(_wrong_at(0.6 if name == "a" else 0.3), probs=SURE))
        for name in "abcde"
    ]
    assert calibrate(pairs).threshold.value == 0.5


def _wrong_at(value):
    return TRUTH * 0.8 + blob(60, 40, 10, 10) * value


def test_a_threshold_that_changes_nothing_stays_at_one_half(folder):
    pairs = [(folder.sample("a", 0, TRUTH), predict(TRUTH * 1.0, probs=SURE))]
    assert calibrate(pairs).threshold.value == 0.5


def test_no_oracle_for_each_image(folder):
    # Two images want a threshold above 0.6, two below 0.3: one threshold serves all badly.
    low = TRUTH * 0.3
    high = np.where(TRUTH, 0.9, 0.6)
    pairs = [
        (folder.sample(name, 0, TRUTH), predict(mask, probs=SURE))
        for name, mask in {"a": high, "b": low, "c": high, "d": low}.items()
    ]
    value = calibrate(pairs).threshold.value
    found = [evaluate([pair], CLASSES, value).values["f1_plus"] for pair in pairs]
    assert max(found) == 1
    assert min(found) < 0.5


def test_without_masks_the_threshold_is_the_papers_and_says_so(folder):
    pairs = [(folder.sample("a"), predict(TRUTH * 1.0, probs=SURE))]
    threshold = calibrate(pairs, "toy").threshold
    assert threshold.value == 0.5
    assert threshold.chosen_on == "the paper's 0.5: toy has no truth masks to fit it on"


def validation(folder: Folder, masks: bool = True):
    """Twenty images; the four bad masks come with an undecided foreground."""
    for number in range(20):
        bad = number % 5 == 0
        scores = blob(50, 35, 20, 20) * 1.0 if bad else TRUTH * 1.0
        slope = 0.001 * number
        inside = [0.6 + slope, 0.4 - slope] if bad else [0.95 + slope, 0.05 - slope]
        sample = folder.sample(f"{number}", 0, TRUTH if masks else None)
        yield sample, predict(scores, probs=inside, background_probs=[0.55 + slope, 0.45 - slope])


def test_trust_limits_single_out_the_bad_masks(folder):
    trust = calibrate(validation(folder), "toy").trust
    limits = trust.foreground_entropy_max, trust.background_entropy_min
    results = evaluate(validation(folder), CLASSES, 0.5).images
    flagged = {
        r.name
        for r in results
        if r.foreground_entropy > limits[0] or r.background_entropy < limits[1]
    }
    assert flagged == {"0", "5", "10", "15"}
    assert trust.calibrated_on == "the masks of toy: flags 4 of the worst 4 of 20 images"


def test_without_masks_the_limits_are_tails(folder):
    trust = calibrate(validation(folder, masks=False), "toy").trust
    results = evaluate(validation(folder, masks=False), CLASSES, 0.5).images
    above = [r.foreground_entropy > trust.foreground_entropy_max for r in results]
    below = [r.background_entropy < trust.background_entropy_min for r in results]
    assert (sum(above), sum(below)) == (2, 2)
    assert trust.calibrated_on == "the 10% tails of toy, 20 images without masks"


def test_the_contrast_limit_singles_out_faint_masks(folder):
    def faint():
        for sample, prediction in validation(folder):
            bad = int(sample.name) % 5 == 0
            found = (prediction.probability > 0.5) | (TRUTH > 0)
            scores = 0.5 + (0.05 if bad else 0.4) * (2.0 * found - 1)
            yield sample, predict(scores, probs=[0.9, 0.1], background_probs=[0.5, 0.5])

    trust = calibrate(faint(), "toy").trust
    assert trust.calibrated_on == "the masks of toy: flags 4 of the worst 4 of 20 images"
    assert 0.1 < trust.mask_contrast_min <= 0.8
    assert (trust.foreground_entropy_max, trust.background_entropy_min) == (1, 0)


def test_a_missing_output_raises_no_flag(folder):
    pairs = [
        (sample, predict(prediction.probability, probs=prediction.probs))
        for sample, prediction in validation(folder)
    ]
    trust = calibrate(pairs).trust
    assert trust.background_entropy_min == 0
    assert trust.foreground_entropy_max < 1


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_images_leave_the_default_and_say_so(folder, count):
    trust = calibrate(list(validation(folder))[:count], "toy").trust
    assert (trust.foreground_entropy_max, trust.background_entropy_min) == (0.5, 0.5)
    assert "default" in trust.calibrated_on


@given(
    arrays(np.float32, (5, 7), elements=st.integers(0, 999).map(lambda n: (n + 0.5) / 1000)),
    st.integers(1, 99),
)
def test_contrast_from_a_histogram_is_the_contrast(soft, percent):
    assert _contrasts(soft)[percent] == pytest.approx(contrast(soft, percent / 100), abs=1e-5)
