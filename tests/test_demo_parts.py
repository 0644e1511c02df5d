"""The demo's parts without a server: pictures, comparison, panels."""

from __future__ import annotations

from pathlib import Path

import demo_page
import numpy as np
import pytest
from artifacts import make_artifact

from wsol_deploy.card import Measured, ModelCard, Trust
from wsol_deploy.demo import compare, examples, panels, save, views
from wsol_deploy.demo.app import build
from wsol_deploy.demo.look import Drawing, Look, look_at
from wsol_deploy.demo.model_tab import card_page
from wsol_deploy.demo.room import Room
from wsol_deploy.demo.sessions import Sessions
from wsol_deploy.demo.shelf import Shelf
from wsol_deploy.demo.uploads import Limits
from wsol_deploy.errors import DataError, WsolError
from wsol_deploy.evaluation.pixels import Counts
from wsol_deploy.runtime import render

SURE = Trust(foreground_entropy_max=1, background_entropy_min=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def shelf(model: Path) -> Shelf:
    return Shelf([model], device="cpu")


@pytest.fixture
def look(shelf: Shelf) -> Look:
    return look_at(shelf.predictor(), Path("discs.png"), demo_page.blobs(120, 160))


# Views


def test_the_overlay_keeps_the_foreground_and_veils_the_rest(look: Look) -> None:
    mask = np.zeros(look.image.shape[:2], bool)
    mask[40:80, 50:110] = True
    picture = render.overlay(look.image, mask, opacity=1.0)
    inner, outer = np.s_[44:76, 54:106], np.s_[:30]
    assert (picture[inner] == look.image[inner]).all()
    assert (picture[outer] == np.array(render.VEIL)).all()


def test_the_outline_is_light_on_the_mask_and_dark_around_it(look: Look) -> None:
    mask = np.zeros(look.image.shape[:2], bool)
    mask[40:80, 50:110] = True
    picture = render.overlay(look.image, mask, opacity=0.5)
    assert (picture[40, 60:100] == 255).all() and (picture[39, 60:100] == 0).all()


def test_a_mask_of_everything_or_nothing_has_no_outline(look: Look) -> None:
    for value in (True, False):
        mask = np.full(look.image.shape[:2], value)
        assert (render.outlined(look.image.copy(), mask) == look.image).all()


def test_scale_colours_equal_values_in_any_picture() -> None:
    low = np.linspace(0, 0.2, 64, dtype=np.float32).reshape(8, 8)
    high = np.concatenate([low, low + 0.8])
    nothing = np.zeros((8, 8), bool)
    alone = views.soft(low, nothing)
    beside = views.soft(high, np.zeros((16, 8), bool))
    assert (alone == beside[:8]).all()


def test_the_colour_bar_runs_over_the_same_scale() -> None:
    ends = views.soft(np.array([[0.0, 1.0]], np.float32), np.zeros((1, 2), bool))[0]
    first, *_, last = views.colour_bar(views.SOFT)
    assert [first, last] == [f"rgb({r} {g} {b})" for r, g, b in ends.tolist()]
    assert views.colour_bar(views.OVERLAY) == []


def test_foreground_and_background_share_the_picture(look: Look) -> None:
    shown = look.picture(Drawing(views.FOREGROUND, 0.5)).astype(int)
    other = look.picture(Drawing(views.BACKGROUND, 0.5)).astype(int)
    together = look.image.astype(int) + np.array(views.ERASED)
    assert np.abs(shown + other - together).max() <= 2


def test_the_threshold_moves_the_overlay_and_the_numbers_without_the_model(look: Look) -> None:
    low, high = look.report(0.1), look.report(0.9)
    assert low["foreground_fraction"] > high["foreground_fraction"] > 0
    pictures = [look.picture(Drawing(views.OVERLAY, t)) for t in (0.1, 0.9)]
    assert (pictures[0] != pictures[1]).any()


def test_boxes_are_drawn_on_request(look: Look) -> None:
    without = look.picture(Drawing(views.OVERLAY, 0.5))
    framed = look.picture(Drawing(views.OVERLAY, 0.5, boxes=True))
    assert (framed == np.array(render.BOX)).all(axis=2).sum() > 50
    assert not (without == np.array(render.BOX)).all(axis=2).any()


def test_heat_of_all_classes_sums_to_one(look: Look) -> None:
    look.picture(Drawing(views.HEAT, 0.5, label="benign"))
    assert look._heat is not None
    assert np.allclose(look._heat.sum(axis=0), 1, atol=1e-5)


def test_unknown_views_and_classes_are_named(look: Look) -> None:
    with pytest.raises(WsolError, match="no view 'Xray'"):
        look.picture(Drawing("Xray", 0.5))
    with pytest.raises(WsolError, match="no class 'zebra'"):
        look.picture(Drawing(views.HEAT, 0.5, label="zebra"))


def test_a_large_picture_is_shown_reduced_and_saved_whole(shelf: Shelf) -> None:
    look = look_at(shelf.predictor(), Path("wide.png"), demo_page.blobs(300, 2400))
    assert look.picture(Drawing(views.OVERLAY, 0.5)).shape == (150, 1200, 3)
    assert look.overlay(0.5, 0.6).shape == (300, 2400, 3)
    assert (look.report(0.5)["width"], look.report(0.5)["height"]) == (2400, 300)


def test_a_small_picture_is_shown_enlarged_and_saved_as_it_is(shelf: Shelf) -> None:
    look = look_at(shelf.predictor(), Path("small.png"), demo_page.blobs(40, 80))
    assert look.picture(Drawing(views.OVERLAY, 0.5)).shape == (400, 800, 3)
    assert look.overlay(0.5, 0.6).shape == (40, 80, 3)


@pytest.mark.parametrize(
    ("outputs", "verdict", "missing"),
    [
        (("mask",), "without a label", "a heat map for each class"),
        (
            ("mask", "localizer_probs", "class_maps"),
            "does not judge its own foreground",
            "the class",
        ),
        (("mask", "probs"), "it does not judge its mask", "the background still"),
    ],
)
def test_a_model_with_fewer_outputs_shows_what_it_has(
    tmp_path: Path, outputs: tuple[str, ...], verdict: str, missing: str
) -> None:
    shelf = Shelf([make_artifact(tmp_path / "bare.onnx", outputs=outputs, trust=SURE)], "cpu")
    predictor, session = shelf.predictor(), Sessions(tmp_path).of("one")
    session.look = look = look_at(predictor, Path("a.png"), demo_page.blobs(64, 64))
    assert (views.HEAT in look.views) is ("class_maps" in outputs)
    for view in look.views:
        assert look.picture(Drawing(view, 0.5, label="benign")).shape == (800, 800, 3)
    assert all(save.write(session, kind, 0.5, 0.6).stat().st_size for kind in save.TITLES)
    assert verdict in panels.verdict(look.report(0.5), predictor.card)
    assert missing in card_page(predictor.card).partition("Does not give")[2]
    room = Room(shelf, Sessions(tmp_path / "sessions"), [], Limits())
    assert choices(room, "look-view") == look.views
    assert ("heatmap" in choices(room, "batch-save")) is ("class_maps" in outputs)


def choices(room: Room, name: str) -> list[str]:
    """What a control of the page lets its user choose from."""
    parts = (part["props"] for part in build(room).get_config_file()["components"])
    (props,) = (part for part in parts if part.get("elem_id") == name)
    return [value for _, value in props["choices"]]


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_a_mask_a_class_is_offered_where_there_are_several(
    shelf: Shelf, tmp_path: Path, task: str
) -> None:
    page = Shelf(list(shelf.paths.values()), "cpu")
    page.cards[page.first] = shelf.cards[shelf.first].model_copy(update={"task": task})
    room = Room(page, Sessions(tmp_path), [], Limits())
    assert ("class-mask" in choices(room, "batch-save")) is (task == "multi-label")


def test_many_classes_are_cut_to_the_likeliest() -> None:
    said = panels.bars({f"class {k}": k / 4950 for k in range(100)})
    assert "class 99" in said and "class 50" not in said and "92 less likely" in said


# Comparison


def test_scores_are_those_of_wsol_evaluate() -> None:
    rng = np.random.default_rng(3)
    for share in (0.0, 0.3, 1.0):
        mask, truth = rng.random((2, 40, 50)) < share
        counts, found = Counts.of(mask, truth), compare.scores(mask, truth)
        assert found == pytest.approx(
            {"f1_plus": counts.f1_plus, "f1_minus": counts.f1_minus, "iou": counts.iou}
        )


def test_a_method_agrees_with_itself_and_disagreement_is_coloured(shelf: Shelf) -> None:
    image = demo_page.blobs(120, 160)
    first, second = compare.methods(shelf)[:2]
    same = compare.compare(shelf, image, first, first)
    assert same.report["agreement"] == same.report["iou_between"] == 1.0
    other = compare.compare(shelf, image, first, second).report
    assert other["only_first"] + other["only_second"] == pytest.approx(1 - other["agreement"])
    one, two = np.zeros((2, 60, 60), bool)
    one[:30], two[:, :30] = True, True
    map_ = views.disagreement(np.full((60, 60, 3), 128, np.uint8), one, two).astype(int)
    assert map_[5, 50, 2] > map_[5, 50, 0] + 50  # only the first: blue
    assert map_[50, 5, 0] > map_[50, 5, 2] + 50  # only the second: orange


def test_the_truth_is_measured_beside_a_mask_of_ones(shelf: Shelf) -> None:
    image = demo_page.blobs(120, 160)
    truth = shelf.predictor().predict(image).mask
    report = compare.compare(shelf, image, *compare.methods(shelf)[:2], truth).report
    assert report["methods"][0]["f1_plus"] == report["methods"][0]["f1_minus"] == 1.0
    assert report["all_ones"]["f1_minus"] == 0.0
    with pytest.raises(DataError, match=r"20 x 10 pixels, the picture 160 x 120"):
        compare.compare(shelf, image, *compare.methods(shelf)[:2], np.ones((10, 20), bool))


def test_two_models_of_one_name_can_be_told_apart(tmp_path: Path) -> None:
    paths = [make_artifact(tmp_path / run / "export" / "model.onnx") for run in ("one", "two")]
    assert Shelf(paths, device="cpu").names == ["tiny", "tiny (two)"]
    beside = make_artifact(paths[0].with_name("model-int8.onnx"))
    assert Shelf([paths[0], beside], device="cpu").names == ["tiny", "tiny (model-int8.onnx)"]


def test_two_models_are_compared_first_and_one_with_its_class_map(tmp_path: Path) -> None:
    paths = [make_artifact(tmp_path / f"{name}.onnx", name=name) for name in ("a", "b")]
    assert compare.first_pair(Shelf(paths, device="cpu")) == ("a", "b")
    assert compare.first_pair(Shelf(paths[:1], device="cpu")) == ("a", "a · class map")
    bare = make_artifact(tmp_path / "bare.onnx", outputs=("mask",), name="bare")
    assert compare.first_pair(Shelf([bare], device="cpu")) == ("bare", "bare")


# Panels


def test_what_comes_from_outside_is_escaped() -> None:
    bad = "<img src=x onerror=alert(1)>"
    card = ModelCard(name=bad, method=bad, classes=[bad, "b"], description=bad, author=bad)
    report = {
        "image": bad, "label": bad, "probabilities": {bad: 0.9, "b": 0.1}, "review": bad,
        "localizer_probabilities": None, "foreground_entropy": 0.1, "background_entropy": 0.9,
        "mask_contrast": 0.7,
    }  # fmt: skip
    for text in (
        panels.header(card), panels.verdict(report, card), panels.alert(bad),
        panels.legend(views.HEAT, 0.5, bad), card_page(card), panels.table([bad], [[bad]], bad),
    ):  # fmt: skip
        assert "<img" not in text and "&lt;img" in text


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("my text.png: not an image", "my text.png: not an image."),
        ("text.png is empty", "text.png is empty."),
        ("choose a picture first", "Choose a picture first."),
        ("no class 'cat'; known: dog", "No class"),
    ],
)
def test_a_sentence_begins_large_and_a_file_s_name_as_it_is(sentence: str, shown: str) -> None:
    assert f">{shown}" in panels.alert(sentence)


@pytest.mark.parametrize(
    ("inside", "outside", "review", "words"),
    [
        (0.1, 0.9, None, ["Nothing stands out", "settles the class"]),
        (0.1, None, None, ["Nothing stands out", "is sure of the class"]),
        (0.97, 0.9, None, ["Nothing stands out", "leaves the class in doubt"]),
        (0.97, None, None, ["Nothing stands out", "in doubt about the class"]),
        (0.8, 0.9, "foreground undecided", ["Look again", "does not settle the class"]),
        (0.8, None, "foreground undecided", ["Look again", "is not sure of the class"]),
        (0.1, 0.2, "background still predicts x", ["Look again", "may be incomplete"]),
    ],
)
def test_trust_is_said_in_plain_words(
    inside: float, outside: float | None, review: str | None, words: list[str]
) -> None:
    report = {
        "foreground_entropy": inside,
        "background_entropy": outside,
        "mask_contrast": 0.7,
        "review": review,
    }
    said = panels.trust(report, ModelCard(name="m", method="m", classes=["a", "b"]))
    assert all(word in said for word in words)


def test_a_faint_mask_is_said_in_plain_words() -> None:
    report = {
        "foreground_entropy": 0.1,
        "background_entropy": 0.9,
        "mask_contrast": 0.2,
        "review": "mask faint",
    }
    limits = Trust(mask_contrast_min=0.3)
    said = panels.trust(report, ModelCard(name="m", method="m", classes=["a", "b"], trust=limits))
    assert (
        "Look again" in said and "The mask is faint" in said and "0.20" in said and "0.30" in said
    )


def test_what_a_model_learnt_from_is_said() -> None:
    for method, words in (("minmax", "image labels"), ("unet", "masks")):
        card = ModelCard(name="m", method=method, classes=["a", "b"])
        assert f"Trained on {words}." in panels.header(card)
        assert ("not on outlines" in card_page(card)) is (method == "minmax")


def test_numbers_stand_beside_their_baselines() -> None:
    found = Measured(
        dataset="glas", split="test", images=80, values={"f1_plus": 0.725, "f1_minus": 0.665},
        baselines={"all ones": {"f1_plus": 0.6601, "f1_minus": 0.0}},
    )  # fmt: skip
    page = card_page(ModelCard(name="m", method="m", classes=["a", "b"], metrics=[found]))
    assert all(word in page for word in ("72.5%", "66.0%", "all ones", "F1−", "80 images"))
    assert "Not a medical device" in page


# Examples


def test_built_in_examples_suit_their_classes_only(tmp_path: Path) -> None:
    glands = ModelCard(name="m", method="m", classes=["malignant", "benign"])
    found = examples.gather(None, glands, tmp_path, Limits())
    assert len(found) == 4 and all(example.truth and example.truth.is_file() for example in found)
    cats = ModelCard(name="m", method="m", classes=["cat", "dog"])
    assert examples.gather(None, cats, tmp_path, Limits()) == []


def test_a_folder_of_examples_leaves_out_what_is_no_picture(tmp_path: Path) -> None:
    card = ModelCard(name="m", method="m", classes=["a", "b"])
    demo_page.save(tmp_path / "good.png", demo_page.blobs(40, 40))
    (tmp_path / "bad.png").write_text("<html>")
    truth = demo_page.save(tmp_path / "good_anno.png", demo_page.blobs(40, 40))
    (found,) = examples.gather(tmp_path, card, tmp_path, Limits())
    assert (found.name, found.truth) == ("good.png", truth)
    (tmp_path / "good.png").unlink()
    truth.unlink()
    with pytest.raises(DataError, match="no picture in it"):
        examples.gather(tmp_path, card, tmp_path, Limits())
