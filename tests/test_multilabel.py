"""Images that show several classes: labels, losses and a mask of each, from CSV to file."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from training import BOTH as CLASSES
from training import tiny_network, tiny_recipe, write_both

from wsol_deploy.artifacts import read_card
from wsol_deploy.datasets import Sample, open_dataset
from wsol_deploy.errors import DataError, UsageError, WsolError
from wsol_deploy.evaluation import evaluate
from wsol_deploy.model.heads import Localization
from wsol_deploy.runtime import Prediction
from wsol_deploy.runtime.trust import entropies
from wsol_deploy.train import folders, losses
from wsol_deploy.train.evidence import local_cross_entropy
from wsol_deploy.train.loader import many_hot
from wsol_deploy.train.recipe_file import to_toml


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    return write_both(tmp_path_factory.mktemp("both"))


def test_a_label_of_several_classes_is_each_of_them(both):
    dataset = open_dataset(both)
    assert dataset.classes == CLASSES and dataset.multi_label
    assert [sample.labels for sample in dataset.samples[:3]] == [(0,), (1,), (0, 1)]
    target = many_hot(2)
    assert [target(sample) for sample in dataset.samples[:3]] == [[1, 0], [0, 1], [1, 1]]


def test_the_fingerprint_knows_every_class_of_an_image(both, tmp_path):
    one = open_dataset(both).fingerprint()
    other = open_dataset(write_both(tmp_path))
    assert other.fingerprint() == one
    fewer = other.with_samples(
        [Sample(s.name, s.image, s.label, s.mask, split=s.split) for s in other.samples]
    )
    assert fewer.fingerprint() != one


def test_each_class_has_its_own_truth(both):
    sample = open_dataset(both).samples[2]
    disc, square = sample.read_class_masks(2)
    assert disc[30, 16] and not disc[30, 48] and square[30, 48] and not square[30, 16]
    assert np.array_equal(disc | square, sample.read_mask())


def test_a_truth_of_one_bit_marks_the_first_class(both, tmp_path):
    path = write_both(tmp_path)
    one_bit = Image.fromarray(np.eye(64, dtype=bool))
    one_bit.save(tmp_path / "masks" / "00.png")
    first, *others = open_dataset(path).samples[0].read_class_masks(3)
    assert np.array_equal(first, np.eye(64, dtype=bool)) and not np.any(others)


def test_a_truth_with_an_unknown_value_is_an_error(both, tmp_path):
    path = write_both(tmp_path)
    cv2.imwrite(str(tmp_path / "masks" / "00.png"), np.full((64, 64), 255, np.uint8))
    with pytest.raises(DataError, match=r"00\.png: has the value 255; .* 1 to 2"):
        open_dataset(path).samples[0].read_class_masks(2)


def test_an_empty_class_in_a_label_is_an_error(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "a.csv").write_text("image,label\na.png,cat;;dog\n")
    with pytest.raises(DataError, match=r"line 2: no class between the semicolons of 'cat;;dog'"):
        open_dataset(tmp_path / "a.csv")


def test_the_losses_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0]])  # posteriors 3/4 and 1/2
    shown = torch.tensor([[1.0, 0.0]])
    crossed = -(math.log(3 / 4) + math.log(1 / 2)) / 2
    assert losses.cross_entropy(logits, shown).tolist() == pytest.approx([crossed])
    undecided = -(math.log(3 / 4) + math.log(1 / 4)) / 2  # of the class shown alone
    assert losses.uniform_cross_entropy(logits, shown).tolist() == pytest.approx([undecided])
    assert losses.uniform_cross_entropy(logits * 0, shown).tolist() == pytest.approx([math.log(2)])
    assert losses.uniform_cross_entropy(logits, shown * 0).tolist() == [0]
    assert losses.right(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), shown).tolist() == [True, False]


def test_local_evidence_asks_each_place_for_all_classes_of_its_image():
    source = torch.tensor([[[[0, 0], [0, 1]]]]).expand(2, 1, 2, 2)  # three quarters of image 0
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    maps = torch.tensor([[[[math.log(3.0)]], [[0.0]]]]).expand(2, 2, 1, 1)
    first = -(0.75 * math.log(3 / 4) + 0.25 * math.log(1 / 4))
    expected = (first + math.log(2)) / 2
    loss = local_cross_entropy(maps, source, labels)
    assert loss.tolist() == pytest.approx([expected, expected], abs=1e-6)


def test_the_mask_of_a_class_fades_with_its_posterior_and_the_union_is_the_highest():
    network = tiny_network(2, task="multi-label")
    maps = torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]])
    found = Localization(maps, torch.tensor([[math.log(3.0), -math.log(3.0)]]))
    masks = network.masks(found, (1, 2))[0, :, 0]
    high, low = 1 / (1 + math.exp(-4)), 1 / (1 + math.exp(4))
    expected = [[0.75 * low, 0.75 * high], [0.25 * high, 0.25 * low]]
    assert torch.allclose(masks, torch.tensor(expected))
    assert torch.equal(network.mask(found, (1, 2))[0, 0, 0], masks.amax(dim=0))
    assert network.outputs[-1] == "class_masks"


def test_nothing_is_asked_of_x_minus_about_classes_that_were_not_found():
    probs, background = np.array([0.9, 0.1]), np.array([0.5, 0.0])
    inside, outside = entropies(probs, background, "multi-label")
    assert outside == pytest.approx(1)
    assert entropies(np.array([0.1, 0.1]), background, "multi-label")[1] is None
    assert 0 < inside < 1


def prediction(masks: np.ndarray, probs: list[float]) -> Prediction:
    return Prediction(
        masks.max(axis=0), 0.5, CLASSES, np.array(probs, np.float32), task="multi-label",
        class_probabilities=masks,
    )  # fmt: skip


def test_a_prediction_has_labels_masks_and_components_of_each_class():
    masks = np.zeros((2, 8, 8), np.float32)
    masks[0, :2, :2], masks[1, 4:, 4:] = 0.9, 0.8
    found = prediction(masks, [0.7, 0.9])
    assert (found.label, found.labels) == ("disc;square", CLASSES)
    assert [(part.label, part.area) for part in found.components] == [("disc", 4), ("square", 16)]
    assert np.array_equal(found.class_mask("square"), masks[1] > 0.5)
    one = prediction(masks, [0.7, 0.2])
    assert one.label == "disc" and [part.label for part in one.components] == ["disc"]
    assert prediction(masks, [0.1, 0.2]).label is None
    with pytest.raises(WsolError, match="no mask of cat"):
        found.class_mask("cat")


def test_the_evaluation_by_hand(both):
    """One class's mask is right, the other's is half of it; one of two decisions is wrong."""
    sample = open_dataset(both).samples[2]
    truths = sample.read_class_masks(2)
    masks = truths.astype(np.float32)
    rows = np.flatnonzero(truths[1].any(axis=1))
    masks[1, rows[: len(rows) // 2]] = 0
    result = evaluate([(sample, prediction(masks, [0.9, 0.4]))], CLASSES, 0.5)
    kept, whole = masks[1].sum(), truths[1].sum()
    dice = 2 * kept / (kept + whole)
    assert result.values["error"] == 0.5
    assert result.values["class_f1"] == pytest.approx((1 + dice) / 2)
    assert result.values["class_iou"] == pytest.approx((1 + kept / whole) / 2)
    assert result.baselines["all-ones"]["class_f1"] < 0.4
    assert result.images[0].label == "disc;square" and result.images[0].predicted == "disc"
    assert {row.label: row.f1_plus for row in result.per_class()} == pytest.approx(
        {"disc": 1, "square": dice}
    )
    assert result.confusion is None


def test_a_model_of_one_class_an_image_is_not_judged_on_several(both):
    sample = open_dataset(both).samples[2]
    single = Prediction(np.zeros((64, 64), np.float32), 0.5, CLASSES, np.array([0.9, 0.1]))
    with pytest.raises(DataError, match="shows disc, square, and the model says one class"):
        evaluate([(sample, single)], CLASSES, 0.5)


@pytest.mark.parametrize("method", ["unet", "all-ones", "centre-box"])
def test_methods_without_masks_of_classes_are_refused(method):
    recipe = tiny_recipe(model={"method": method, "backbone": "none"})
    with pytest.raises(UsageError, match=f"{method} has no mask of each class"):
        folders.for_labels(recipe, several=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["minmax", "cam-avg", "deep-mil"])
def test_trained_exported_evaluated_and_predicted(wsol, both, tmp_path, method):
    recipe, run, out = tmp_path / "tiny.toml", tmp_path / "run", tmp_path / "out"
    head = {"pixel_head": 8, "rescale": "running"} if method == "minmax" else {}
    recipe.write_text(to_toml(tiny_recipe(model=head, loss={"local": 1.0} if head else {})))
    code, _, err = wsol("train", both, "--recipe", recipe, "--method", method, "-o", run)
    assert code == 0, err
    assert "2 classes, several an image" in err
    code, paths, err = wsol("export", "-m", run, "--format", "onnx", "--format", "torchscript")
    assert code == 0, err
    for path in paths.split():
        card = read_card(path)
        assert (card.task, list(card.outputs)[-1]) == ("multi-label", "class_masks")
        assert card.proof["passed"]
    model = run / "export" / "model.onnx"
    code, text, err = wsol("evaluate", both, "-m", model, "--subset", "valid", "--json",
                           "--report", tmp_path / "report.html")  # fmt: skip
    assert code == 0, err
    assert {"error", "class_f1", "class_iou", "f1_minus"} <= set(json.loads(text)["metrics"])
    saves = [
        word
        for name in ("mask", "class-mask", "heatmap", "csv", "geojson", "labelme", "yolo", "coco")
        for word in ("--save", name)
    ]
    code, _, err = wsol("predict", both.parent / "images", "-m", model, "-o", out, *saves)
    assert code == 0, err
    with (out / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 16
    for row in rows:
        found = [name for name in row["label"].split(";") if name]
        posteriors = {name: float(row[f"probabilities:{name}"]) for name in CLASSES}
        assert found == [name for name in CLASSES if posteriors[name] > 0.5]
        files = sorted(path.name for path in (out / "class-masks" / row["image"]).glob("*"))
        assert files == [f"{CLASSES.index(name)}-{name}.png" for name in found]
        features = json.loads((out / "geojson" / f"{row['image']}.geojson").read_text())["features"]
        assert {one["properties"]["classification"]["name"] for one in features} <= set(found)


@pytest.mark.slow
def test_masks_of_classes_need_a_multi_label_model(wsol, tmp_path):
    from exporting import a_checkpoint

    code, _, err = wsol("predict", tmp_path, "-m", a_checkpoint(), "-o", tmp_path / "out",
                        "--save", "class-mask")  # fmt: skip
    assert code == 2
    assert "show one class each" in err and "--save mask" in err


def test_each_class_has_its_own_running_range_which_moves_only_when_it_is_shown():
    network = tiny_network(2, task="multi-label", rescale="running")
    maps = torch.tensor([[[[0.0, 4.0]], [[-1.0, 9.0]]]], dtype=torch.float64)
    network.follow_ranges(maps, (1, 2), torch.tensor([[1.0, 1e-9]]))
    assert network.high.flatten().tolist() == pytest.approx([0.95 + 0.05 * 4, 1], abs=1e-6)
    assert network.low.flatten().tolist() == pytest.approx([0, 0], abs=1e-6)
    before = network.high.clone()
    network.follow_ranges(maps, (1, 2), torch.zeros(1, 2))
    assert torch.equal(network.high, before)
