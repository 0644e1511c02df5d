"""`evaluate`: one pass gives every metric that the data allows, beside the constant rows."""

from __future__ import annotations

import csv
import tracemalloc

import numpy as np
import pytest
from evaluation_samples import CLASSES, HEIGHT, WIDTH, Folder, blob, predict

from wsol_deploy.errors import DataError
from wsol_deploy.evaluation import Prediction, evaluate
from wsol_deploy.evaluation.baselines import all_ones, centre_box
from wsol_deploy.evaluation.bootstrap import Sums, interval
from wsol_deploy.evaluation.classification import auroc, confusion_matrix, rank_of
from wsol_deploy.evaluation.results import write_csv

RIGHT, WRONG = [0.9, 0.1], [0.2, 0.8]


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def two_images(folder: Folder):
    """A perfect mask with the right class; half of the object with the wrong one."""
    whole, half = blob(10, 10, 40, 20), blob(10, 10, 40, 10)
    return [
        (folder.sample("a.png", 0, whole), predict(whole * 1.0, probs=RIGHT)),
        (folder.sample("b.png", 0, whole), predict(half * 1.0, probs=WRONG)),
    ]


def test_every_metric_of_two_images_by_hand(folder):
    values = evaluate(two_images(folder), CLASSES, 0.5).values

    assert values["error"] == pytest.approx(1 / 2)
    assert values["f1_plus"] == pytest.approx((1 + 2 * 400 / 1200) / 2)
    assert values["f1_minus"] == pytest.approx((1 + 2 * 4000 / 8400) / 2)
    assert values["iou"] == pytest.approx((1 + 0.5) / 2)
    # Pooled pixels: at score 1, 1200 of 1600 found and all of them true; at 0, the rest.
    assert values["pxap"] == pytest.approx(0.75 * 1 + 0.25 * 1600 / 9600)
    # At 224 the truth is 28..140 x 37..112, the half's box 28..140 x 37..75: IoU 39 / 76 = 0.51.
    assert values["max_box_acc"] == 1.0
    assert values["max_box_acc_v2"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert values["top1_loc"] == pytest.approx(1 / 2)
    assert "top5_loc" not in values
    assert "auroc" not in values  # one class only


def test_constant_rows_by_hand(folder):
    baselines = evaluate(two_images(folder), CLASSES, 0.5).baselines
    truth, centre = blob(10, 10, 40, 20), centre_box(HEIGHT, WIDTH)
    both = np.sum(truth & centre)

    assert baselines["all-ones"]["f1_plus"] == pytest.approx(2 * 800 / (800 + 4800))
    assert baselines["all-ones"]["f1_minus"] == 0
    assert baselines["all-ones"]["iou"] == pytest.approx(800 / 4800)
    assert baselines["all-ones"]["pxap"] == pytest.approx(800 / 4800)
    assert baselines["all-ones"]["max_box_acc"] == 0
    assert baselines["centre-box"]["f1_plus"] == pytest.approx(2 * both / (800 + centre.sum()))
    assert baselines["majority class"] == {"error": 0}


def test_the_centre_box_has_half_the_area_in_the_middle():
    box = centre_box(100, 200)
    assert box.mean() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(box, box[::-1, ::-1])
    assert all_ones(2, 3).all()


def test_top_1_localisation_of_the_constant_rows_takes_the_commonest_class(folder):
    middle = ((12.0, 9.0, 68.0, 51.0),)
    pairs = [
        (folder.sample("a", 0, boxes=middle), predict(blob(0, 0, 5, 5) * 1.0, probs=RIGHT)),
        (folder.sample("b", 0, boxes=middle), predict(blob(0, 0, 5, 5) * 1.0, probs=RIGHT)),
        (folder.sample("c", 1, boxes=middle), predict(blob(0, 0, 5, 5) * 1.0, probs=RIGHT)),
    ]
    rows = evaluate(pairs, CLASSES, 0.5).baselines
    assert rows["centre-box"]["max_box_acc"] == 1
    assert rows["centre-box"]["top1_loc"] == pytest.approx(2 / 3)
    assert rows["majority class"]["error"] == pytest.approx(1 / 3)


def test_truth_boxes_are_preferred_to_the_masks_regions(folder):
    truth = blob(10, 10, 40, 20)
    sample = folder.sample("a", 0, truth, boxes=((60.0, 40.0, 79.0, 59.0),))
    evaluation = evaluate([(sample, predict(truth * 1.0, probs=RIGHT))], CLASSES, 0.5)
    assert evaluation.values["max_box_acc"] == 0
    assert evaluation.notes == ()


def test_boxes_of_masks_are_said_to_be_derived(folder):
    assert any(
        "boxes of their masks' regions" in n
        for n in evaluate(two_images(folder), CLASSES, 0.5).notes
    )


def test_without_masks_and_boxes_classification_only_and_said(folder):
    pairs = [(folder.sample("a", 1), predict(blob(0, 0, 9, 9) * 1.0, probs=WRONG))]
    evaluation = evaluate(pairs, CLASSES, 0.5)
    assert set(evaluation.values) == {"error"}
    assert set(evaluation.baselines) == {"majority class"}
    assert evaluation.notes == ("no truth masks and no truth boxes: classification only",)
    assert evaluation.curves is None


def test_some_masks_missing_is_said(folder):
    pairs = [*two_images(folder), (folder.sample("c"), predict(blob(0, 0, 9, 9), probs=RIGHT))]
    evaluation = evaluate(pairs, CLASSES, 0.5)
    assert evaluation.metrics["f1_plus"].images == 2
    assert evaluation.metrics["error"].images == 3
    assert "pixel metrics are over the 2 of 3 images with a truth mask" in evaluation.notes


def test_a_model_without_a_classifier(folder):
    truth = blob(10, 10, 40, 20)
    pairs = [(folder.sample("a", 0, truth), predict(truth * 1.0))]
    evaluation = evaluate(pairs, CLASSES, 0.5)
    assert "error" not in evaluation.values
    assert "top1_loc" not in evaluation.values
    assert evaluation.confusion is None
    assert evaluation.values["f1_plus"] == 1

    pairs = [(folder.sample("a", 0, truth), predict(truth * 1.0, localizer_probs=RIGHT))]
    evaluation = evaluate(pairs, CLASSES, 0.5)
    assert evaluation.values["error"] == 0
    assert any("localizer's" in note for note in evaluation.notes)


def test_the_threshold_is_strict(folder):
    truth = blob(10, 10, 40, 20)
    sample, prediction = folder.sample("a", 0, truth), predict(truth * 0.5, probs=RIGHT)
    assert evaluate([(sample, prediction)], CLASSES, 0.49).values["f1_plus"] == 1
    assert evaluate([(sample, prediction)], CLASSES, 0.5).values["f1_plus"] == 0


def test_classes_are_matched_by_name(folder):
    prediction = Prediction(
        blob(0, 0, 9, 9).astype(np.float32),
        0.5,
        ("malignant", "other", "benign"),
        probs=np.array([0.1, 0.2, 0.7], np.float32),
    )
    evaluation = evaluate([(folder.sample("a", 0), prediction)], CLASSES, 0.5)
    assert evaluation.values["error"] == 0
    assert evaluation.confusion.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_top_5_counts_the_five_likeliest_of_many(folder):
    classes = tuple("abcdefg")
    truth = blob(10, 10, 40, 20)

    def image(name: str, rank: int):
        probs = np.linspace(0.2, 0.08, 7).astype(np.float32)
        sample = folder.sample(name, rank - 1, truth)
        return sample, Prediction(truth.astype(np.float32), 0.5, classes, probs=probs)

    values = evaluate([image("x", 1), image("y", 5), image("z", 6)], classes, 0.5).values
    assert values["top1_loc"] == pytest.approx(1 / 3)
    assert values["top5_loc"] == pytest.approx(2 / 3)


def test_per_class_and_confusion(folder):
    truth = blob(10, 10, 40, 20)
    pairs = [
        (folder.sample("a", 0, truth), predict(truth * 1.0, probs=RIGHT)),
        (folder.sample("b", 1, truth), predict(~truth * 1.0, probs=RIGHT)),
        (folder.sample("c", 1, truth), predict(truth * 1.0, probs=WRONG)),
    ]
    evaluation = evaluate(pairs, CLASSES, 0.5)
    first, second = evaluation.per_class()
    assert (first.label, first.images, first.error, first.f1_plus) == ("benign", 1, 0, 1)
    assert (second.images, second.error, second.f1_plus) == (2, 0.5, 0.5)
    assert evaluation.confusion.tolist() == [[1, 0], [1, 1]]
    assert evaluation.values["auroc"] == pytest.approx(0.75)  # above one, level with the other
    assert [result.name for result in evaluation.worst_first()] == ["b", "a", "c"]


def test_csv_has_the_worst_first(folder, tmp_path):
    write_csv(evaluate(two_images(folder), CLASSES, 0.5), tmp_path / "deep" / "images.csv")
    with (tmp_path / "deep" / "images.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["b.png", "a.png"]
    assert rows[0]["predicted"] == "malignant"
    assert float(rows[0]["iou"]) == pytest.approx(0.5)
    assert rows[0]["flagged"] == ""


def test_json_has_everything_but_the_images(folder):
    found = evaluate(two_images(folder), CLASSES, 0.5, copies=20).as_dict()
    assert found["metrics"]["iou"]["value"] == pytest.approx(0.75)
    assert found["metrics"]["iou"]["low"] <= 0.75 <= found["metrics"]["iou"]["high"]
    assert found["baselines"]["all-ones"]["f1_minus"] == 0
    assert found["images"] == 2


def test_the_cards_entry(folder):
    measured = evaluate(two_images(folder), CLASSES, 0.5).measured("toy", "test")
    assert (measured.dataset, measured.split, measured.images) == ("toy", "test", 2)
    assert measured.values["iou"] == pytest.approx(0.75)
    assert measured.baselines["all-ones"]["f1_minus"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s, p: (s, predict(p.probability[:-1], probs=RIGHT)),
            r"is 80 x 60, the image 80 x 59",
        ),
        (lambda s, p: (s, predict(p.probability * np.nan, probs=RIGHT)), "NaN"),
    ],
)
def test_broken_images_name_themselves(folder, change, message):
    pair = change(*two_images(folder)[0])
    with pytest.raises(DataError, match=rf"a\.png: .*{message}"):
        evaluate([pair], CLASSES, 0.5)


def test_nothing_to_evaluate_and_unknown_classes(folder):
    with pytest.raises(DataError, match="no images to evaluate"):
        evaluate([], CLASSES, 0.5)
    with pytest.raises(DataError, match="does not know: adenoma; it knows benign, malignant"):
        evaluate(two_images(folder), ("benign", "adenoma"), 0.5)


def test_masks_without_any_foreground(folder):
    empty = np.zeros((HEIGHT, WIDTH), bool)
    pairs = [(folder.sample("a", 0, empty), predict(empty * 1.0, probs=RIGHT))]
    with pytest.raises(DataError, match="no truth mask has a foreground pixel"):
        evaluate(pairs, CLASSES, 0.5)


def test_memory_does_not_grow_with_the_images(folder):
    truth = blob(10, 10, 40, 20)
    sample = folder.sample("a", 0, truth)

    def peak(count: int) -> int:
        tracemalloc.start()
        evaluate(
            ((sample, predict(truth * 1.0, probs=RIGHT)) for _ in range(count)),
            CLASSES,
            0.5,
        )
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)
    few, many = peak(64), peak(192)
    assert (many - few) / 128 < 1500  # bytes an image; its score map alone has 19 200


def test_rank_confusion_and_auroc():
    assert rank_of(np.array([0.2, 0.5, 0.3]), 2) == 2
    assert rank_of(np.array([0.5, 0.5]), 1) == 2
    assert confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist() == [
        [1, 0],
        [1, 1],
    ]
    positive = np.array([True, False, True, False])
    assert auroc(np.array([0.9, 0.8, 0.7, 0.1]), positive) == pytest.approx(3 / 4)
    assert auroc(np.full(4, 0.5), positive) == pytest.approx(1 / 2)
    assert np.isnan(auroc(np.array([0.5]), np.array([True])))


def test_sums_are_exact_and_resampling_has_the_spread_of_the_mean():
    values = np.random.default_rng(1).normal(size=400)
    sums = Sums(copies=2000, seed=3)
    for value in values:
        sums.add({"x": value, "n": 1.0})
    means = sums["x"] / sums["n"]
    assert means[0] == pytest.approx(values.mean())
    low, high = interval(means[1:])
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_resampling_is_the_same_for_the_same_seed():
    def rows(seed: int) -> np.ndarray:
        sums = Sums(copies=5, seed=seed)
        for value in range(100):
            sums.add({"x": float(value)})
        return sums["x"]

    assert np.array_equal(rows(0), rows(0))
    assert not np.array_equal(rows(0), rows(1))


def test_an_image_has_one_weight_in_all_its_statistics():
    sums = Sums(copies=30)
    for number in range(100):
        sums.add({"x": 1.0, "y": 2.0} if number % 2 else {"x": 1.0})
    assert sums["x"][0] == 100
    assert sums["y"][0] == 100
    assert np.all(sums["y"] <= 2 * sums["x"])
    assert "z" not in sums
